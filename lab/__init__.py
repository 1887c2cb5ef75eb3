"""Real brokers and workers as processes of their own, for the demo, the benchmarks, the crash campaign and tests."""
