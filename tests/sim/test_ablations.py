"""Each mitigation of the production code is needed: without it one of a fixed set of seeds fails. See `ablations`."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from tests.sim.ablations import ABLATIONS
from tests.sim.run import run
from tests.sim.schedule import from_seed

SECONDS = 10.0
SEEDS = range(1, 16)
"""Run until one fails, which is mostly the first or second."""


class Trap(NamedTuple):
    """Runs of which one must fail without the mitigation. options: beside those of the seed. sign: what is violated."""

    sign: str
    kinds: tuple[str, ...]
    options: dict[str, Any] = {}  # noqa: RUF012  never written to


BUSY = {"latency": (0.0005, 0.03), "rate": 40.0, "nodes": 3}
SLOW = {"latency": (0.0005, 0.1), "rate": 40.0, "nodes": 3}

TRAPS: dict[str, Trap] = {
    "answers wait for the sync (D1)": Trap("I7 left before its sync", ()),
    "commits wait for the sync (C2)": Trap("I7 applied before its sync", ()),
    "the vote is on the disk (J1)": Trap("I7 left before its sync", ()),
    "what agrees is kept (M4.7)": Trap("I6 committed entry cut", ("reset", "flap"), SLOW),
    "commit never passes what is proven equal (M4.10)": Trap(
        "raised:BrokenCluster", ("isolate", "halves"), BUSY
    ),
    "what may come back is unknown (D6)": Trap("I11 refused and there", ("isolate", "halves"), BUSY),
    "a read is confirmed by a majority (D7)": Trap("I14 stale read", ("isolate", "pause"), BUSY),
}


def test_every_ablation_has_its_trap() -> None:
    assert set(TRAPS) == set(ABLATIONS)


@pytest.mark.parametrize("name", TRAPS, ids=[name.replace(" ", "-") for name in TRAPS])
def test_without_the_mitigation_a_seed_fails(name: str) -> None:
    trap = TRAPS[name]
    seen = []
    for seed in SEEDS:
        schedule = from_seed(seed, seconds=SECONDS, kinds=trap.kinds)
        schedule = schedule._replace(options=schedule.options._replace(**trap.options))
        report = run(schedule, ABLATIONS[name].make(), to_first=True)
        if report.kinds[trap.sign]:
            return
        seen.append(sorted(report.kinds))
    pytest.fail(f"not noticed: {seen}")
