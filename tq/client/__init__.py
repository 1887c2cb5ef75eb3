"""Talking to brokers, blocking or async."""
