"""Every door, through real sockets."""
