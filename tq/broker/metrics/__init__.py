"""The broker's numbers as Prometheus reads them."""
