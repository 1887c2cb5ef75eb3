"""What all tests share: quiet surroundings, and a hypothesis that does not judge by the clock."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings

# Test machines are slow and shared: how long an example took says nothing about the code.
settings.register_profile("tq", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tq")

# A TQ_ variable of whoever runs the tests must not become a setting of what they test.
for name in [name for name in os.environ if name.startswith("TQ_")]:
    del os.environ[name]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the simulated clusters of tests/sim came by: a run that met no faults proved nothing."""
    counts: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        counts.update({name: n for name, n in report.user_properties if name.startswith("sim: ")})
    if counts:
        text = ", ".join(f"{name.removeprefix('sim: ')} {n}" for name, n in sorted(counts.items()))
        terminalreporter.write_line(f"simulator: {text}")
