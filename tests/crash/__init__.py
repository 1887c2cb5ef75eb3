"""Kills the broker over and over while it works, and holds it to everything it had acknowledged.

`python -m tests.crash --kills 300` is the campaign, `test_crash` its short form. A kill -9 takes the process and not
the machine: what had been handed to the kernel survives it. That unsynced writes may vanish too is the business of
the storage tests, which drop them.
"""
