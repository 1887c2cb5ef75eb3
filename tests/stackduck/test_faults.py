"""The fault campaign in short; `make duckfaults` runs the long one."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.stackduck.faults import Campaign

KINDS = ("redis kill", "postgres kill", "broker kill")
"""A stop of either costs its time-outs beside."""


@pytest.mark.timeout(300)
def test_no_acknowledged_job_is_lost_and_none_completed_twice(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")

    verdict = asyncio.run(Campaign(tmp_path, random.Random(seed)).run(1, kinds=KINDS))

    assert verdict.acknowledged
    assert (verdict.lost, verdict.twice) == (0, 0), verdict
