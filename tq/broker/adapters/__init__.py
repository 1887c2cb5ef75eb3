"""Backends on stores that tq does not own."""
