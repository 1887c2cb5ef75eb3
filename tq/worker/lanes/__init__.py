"""Where handlers run: on an event loop, in threads, or in child processes."""
