"""What tq measures of itself: `python -m benchmarks.run [NAME ...] [--quick]`, or `make bench` for all of it."""
