"""Deciding what becomes of tasks: a pure function of the log."""
