"""A short form of `make faults`: servers die and stop under load, and nothing acknowledged is lost or done twice."""

from __future__ import annotations

import asyncio

from tests.rustq.faults import run
from tests.rustq.places import Deployment

SEED = 20_260


def test_redis_dies_and_stops_under_load_and_no_job_is_lost_or_completed_twice(
    deployment: Deployment,
) -> None:
    history = asyncio.run(run(deployment, deployment.redis_server, rounds=3, seed=SEED))

    assert history.violations == [], f"seed {SEED}"
    assert history.counts["set_aside"] == 0
    assert len(history.acknowledged) > 10


def test_rabbitmq_dies_and_stops_under_load_and_no_job_is_lost_or_completed_twice(
    deployment: Deployment,
) -> None:
    history = asyncio.run(run(deployment, deployment.rabbit_server, rounds=2, seed=SEED))

    assert history.violations == [], f"seed {SEED}"
    assert history.counts["set_aside"] == 0
    assert history.counts["reconnects"] >= 1
