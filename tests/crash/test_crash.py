"""The campaign's short form."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from tests.crash.campaign import run

KILLS, ACKNOWLEDGED = 5, 100


def test_a_broker_killed_at_random_moments_keeps_all_it_acknowledged(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")

    history = asyncio.run(run(tmp_path, kills=KILLS, seed=seed, acknowledged=ACKNOWLEDGED))

    assert history.violations == []
    assert history.counts["kills"] >= KILLS
    assert len(history.acknowledged) >= ACKNOWLEDGED
    assert history.completed
    assert history.ordered
