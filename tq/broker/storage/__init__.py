"""Ordered keys on disk, and their twin in memory."""
