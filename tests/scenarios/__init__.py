"""The same steps through every door: what is answered must be the same everywhere."""
