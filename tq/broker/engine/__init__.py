"""Between the log and the machine: gather, apply, answer."""
