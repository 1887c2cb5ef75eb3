"""What a broker is made of; `node` puts it together."""
