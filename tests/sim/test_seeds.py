"""Three hundred seeds, none of which may violate anything. Short ones; `make sim SEEDS=1000` runs longer ones.

What they came by (faults, coverage) is printed at the end of the tests: see `tests/conftest.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.sim.campaign import Totals
from tests.sim.hardened import HARDENED
from tests.sim.run import run
from tests.sim.schedule import brisk
from tests.sim.test_hardened import check

SEEDS = 300
SHARE = 25
"""Of one test, so that they spread over processes."""
ALWAYS_COVERED = ("resets", "membership changes")
"""By any share of the seeds; what is rarer is asked for by name in `test_hardened`."""


@pytest.mark.parametrize("first", range(1, SEEDS + 1, SHARE))
def test_no_seed_violates_anything(first: int, record_property: Callable[[str, object], None]) -> None:
    totals = Totals()
    for seed in range(first, first + SHARE):
        report = run(brisk(seed), HARDENED)
        check(report)
        totals.add(report)

    for name, count in {**totals.numbers(), **totals.faults, **totals.coverage}.items():
        record_property(f"sim: {name}", count)
    assert totals.acknowledged > SHARE
    assert [name for name in ALWAYS_COVERED if not totals.coverage[name]] == []
