"""The campaign's short form, on the network that every machine has."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from lab.cluster import Brokers
from lab.gates import Gates
from tests.cluster.campaign import Options, Stage, run
from tests.cluster.clocks import Clocks
from tests.cluster.faults import FAULTS

SEED = 4
STRIKING_SECONDS = 150
SECONDS_MAX = 480
"""Start, the last fault and the judging come on top: half a minute on a quiet machine, and two on one with a load of 20."""
NODES = ("n1", "n2", "n3")
FAULTS_LEAST = 10
"""Of different kinds."""


@pytest.mark.timeout(SECONDS_MAX)
def test_a_cluster_under_faults_keeps_all_it_acknowledged(tmp_path: Path) -> None:
    print(f"seed {SEED}")
    with closing(Gates(NODES)) as network:
        clocks = Clocks(tmp_path, NODES)
        brokers = Brokers(tmp_path, network, NODES, env=clocks.env, command=clocks.command)
        stage = Stage(tmp_path, brokers, network, clocks)

        history = asyncio.run(run(stage, Options(SEED, STRIKING_SECONDS), FAULTS, print))

    assert history.violations == []
    assert len(history.acknowledged) > 200
    assert history.counts["status reads"] > 20
    assert history.counts["terms with a leader"] > 1
    assert len(history.faults) >= FAULTS_LEAST
