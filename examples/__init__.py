"""Programs that show tq at work; each runs from a checkout."""
