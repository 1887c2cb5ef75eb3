"""The REST door: every call, every error, every limit, from outside."""
