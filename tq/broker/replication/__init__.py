"""Ordering entries and keeping them."""
