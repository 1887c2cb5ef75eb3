"""The fault campaign in short; `make duckfaults` runs the long one."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import pytest

from tests.stackduck.faults import Campaign

KINDS = ("redis kill", "postgres kill", "broker kill")
"""A stop of either costs its time-outs beside."""
QUICK = (sys.executable, "-m", "tests.stackduck.quick_broker")
"""The jobs of a broker that was killed come back after seconds, not minutes."""


@pytest.mark.timeout(900)
def test_no_acknowledged_job_is_lost_and_none_completed_twice(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")

    campaign = Campaign(tmp_path, random.Random(seed), broker=QUICK)
    verdict = asyncio.run(campaign.run(1, kinds=KINDS))

    assert verdict.acknowledged
    assert verdict.is_fine, verdict
