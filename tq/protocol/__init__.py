"""The wire as a function: bytes in, verbs out, and back; no sockets here."""
