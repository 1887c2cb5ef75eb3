"""Who gets in and what they may do: keys, permissions, rates, TLS."""
