"""The library as it is shipped, on schedules tq must survive: the simulator has to see what it does wrong."""

from __future__ import annotations

import pytest

from tests.sim.run import run
from tests.sim.schedule import from_seed
from tests.sim.stock import STOCK

# The library opens dumps and does not close all of them.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

SECONDS = 14.0
SEEDS = range(1, 21)
"""Run until one shows it."""


@pytest.mark.parametrize(
    ("sign", "kinds"),
    [
        ("I10 acknowledged lost", ("power", "power_all")),
        ("I3 state machine safety", ("power", "power_all")),
        ("I4 match not durable", ("kill", "reset", "pause")),
        ("I6 committed entry cut", ("kill", "reset", "pause")),
    ],
    ids=["acknowledged-lost", "states-diverge", "match-not-held", "committed-entry-cut"],
)
def test_the_bare_library_violates(sign: str, kinds: tuple[str, ...]) -> None:
    seen = []
    for seed in SEEDS:
        schedule = from_seed(seed, seconds=SECONDS, kinds=kinds)
        options = schedule.options._replace(
            nodes=3, rate=15.0, compact_entries=60, latency=(0.0005, 0.03), is_pipelined=True
        )
        report = run(schedule._replace(options=options), STOCK)
        if report.kinds[sign]:
            return
        seen.append(sorted(report.kinds))
    pytest.fail(f"nothing of the kind: {seen}")
