"""`make demo`: a broker and two workers do a real job, things go wrong on purpose, every result is checked."""
