"""The files in deploy/ start what they say: three brokers that agree on who they are, and workers that find them."""

from __future__ import annotations

import configparser
import shlex
from pathlib import Path
from typing import Any

import yaml

from tq.broker.replication.cluster import configuration_of
from tq.config import BrokerConfig, flags_of, load_broker

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SAMPLE = ROOT / "config" / "cluster.yaml"
SECRET = "long enough to be a secret"


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())
    return document


def unit(name: str) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read(DEPLOY / "systemd" / name)
    return parser["Service"]


def variables(name: str) -> dict[str, str]:
    lines = (DEPLOY / "systemd" / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_composed_brokers_read_the_sample_and_agree_on_the_cluster() -> None:
    brokers = [each for name, each in compose()["services"].items() if name.startswith("broker")]
    found = []
    for broker in brokers:
        environment = {**broker["environment"], "TQ_RAFT_SECRET": SECRET}
        assert "../../config/cluster.yaml:/etc/tq/cluster.yaml:ro" in broker["volumes"]
        raft = load_broker(str(SAMPLE), environment, {}).raft
        assert broker["hostname"] == (raft.advertise or "").partition(":")[0]
        found.append(configuration_of(raft))
    assert len(found) == 3
    assert len(set(found)) == 1
    assert found[0].voters == ("node1", "node2", "node3")


def test_composed_workers_are_given_every_broker() -> None:
    services = compose()["services"]
    hosts = {each["hostname"] for name, each in services.items() if name.startswith("broker")}
    command = services["worker"]["command"]
    addresses = command[command.index("--broker-addr") + 1]
    assert {address.partition(":")[0] for address in addresses.split(",")} == hosts


def test_units_start_programs_with_flags_they_know_and_variables_they_are_given() -> None:
    broker = unit("tq-broker.service")
    command = shlex.split(broker["ExecStart"])
    assert Path(command[0]).name == "tq-broker"
    known = {f"--{flag.name}" for flag in flags_of(BrokerConfig).values()} | {"--config", "--validate"}
    assert {word for word in command if word.startswith("--")} <= known
    given = variables("broker.env")
    assert load_broker(str(SAMPLE), given, {}).raft.node_id == given["TQ_NODE_ID"]
    worker = unit("tq-worker@.service")
    wanted = variables("worker-shop.env")
    assert all(f"${name}" in worker["ExecStart"].replace("{", "").replace("}", "") for name in wanted)
    assert int(broker["TimeoutStopSec"]) > 10
    assert int(worker["TimeoutStopSec"]) > 60
