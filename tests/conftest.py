"""What all tests share: quiet surroundings, and a hypothesis that does not judge by the clock."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import coverage
import pytest
from hypothesis import HealthCheck, settings

# Test machines are slow and shared: how long an example took says nothing about the code.
settings.register_profile("tq", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tq")

# A TQ_ variable of whoever runs the tests must not become a setting of what they test.
for name in [name for name in os.environ if name.startswith("TQ_")]:
    del os.environ[name]


TESTS = Path(__file__).parent
UNMEASURED = ("browser", "cluster", "crash", "sim")
"""Packages whose tests are not measured for coverage, nor the programs they start: they walk the same lines thousands
of times, at less than half of the speed, and tests of those lines are elsewhere."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Coverage stands still while a test of UNMEASURED is at work."""
    measured = coverage.Coverage.current()
    if measured is None or item.path.relative_to(TESTS).parts[0] not in UNMEASURED:
        return (yield)
    start = os.environ.pop("COVERAGE_PROCESS_START")
    measured.stop()
    try:
        return (yield)
    finally:
        measured.start()
        os.environ["COVERAGE_PROCESS_START"] = start


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the simulated clusters of tests/sim came by: a run that met no faults proved nothing."""
    counts: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        counts.update({name: n for name, n in report.user_properties if name.startswith("sim: ")})
    if counts:
        text = ", ".join(f"{name.removeprefix('sim: ')} {n}" for name, n in sorted(counts.items()))
        terminalreporter.write_line(f"simulator: {text}")
