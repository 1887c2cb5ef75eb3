"""The dashboard in Debian's Chromium, against a real broker with a real worker."""
