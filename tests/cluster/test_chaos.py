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
SECONDS_MAX = 300
"""It takes 30 on a quiet machine, and a minute on one with a load of 20."""
NODES = ("n1", "n2", "n3")
CHOSEN = (
    "kill the leader",
    "pause the leader",
    "partition: one node alone, silent",
    "partition: one node mute, reset",
    "clocks strobed",
    "worker killed",
)


@pytest.mark.timeout(SECONDS_MAX)
def test_a_cluster_under_faults_keeps_all_it_acknowledged(tmp_path: Path) -> None:
    print(f"seed {SEED}")
    with closing(Gates(NODES)) as network:
        clocks = Clocks(tmp_path, NODES)
        brokers = Brokers(tmp_path, network, NODES, env=clocks.env, command=clocks.command)
        stage = Stage(tmp_path, brokers, network, clocks)
        chosen = {name: FAULTS[name] for name in CHOSEN}

        history = asyncio.run(run(stage, Options(SEED, 0, faults_least=len(CHOSEN)), chosen, print))

    assert history.violations == []
    assert len(history.acknowledged) > 200
    assert history.counts["status reads"] > 20
    assert history.counts["terms with a leader"] > 1
    assert sorted(history.faults) == sorted(CHOSEN)
