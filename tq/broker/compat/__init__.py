"""Words, numbers and quirks of foreign systems, as pure functions: no I/O, no clock, no randomness."""
