"""What a configuration may hold, where it may come from, and who wins."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from tq.config import BrokerConfig, ConfigProblems, Peer, WorkerConfig, flags_of, load_broker, load_worker
from tq.config.models import PERMISSIONS, File
from tq.config.reference import reference
from tq.config.settings import differences, settings_of

ROOT = Path(__file__).resolve().parents[3]
HASH = "$2b$12$" + "a" * 53
CONTRACT = f"""
broker:      {{host: 0.0.0.0, port: 6379, max_connections: 1000, queue_depth_threshold: 100000}}
persistence: {{data_dir: ./data, durability: strict, wal_sync_interval_ms: 0, completed_task_retention_days: 7}}
raft:        {{enabled: false, node_id: node1, bind: 0.0.0.0:7379, advertise: host1:7379,
              peers: {{node2: host2:7379, node3: host3:7379}}, election_timeout_ms: 1000, heartbeat_interval_ms: 100,
              secret: sixteen characters, tls_ca: null, tls_cert: null, tls_key: null}}
api:         {{rest_port: 8080, grpc_port: 9090, enable_tls: false, tls_cert_path: null, tls_key_path: null}}
auth:        {{enabled: false, api_keys: [{{name: ci, key_hash: "{HASH}", permissions: [submit_tasks, read_tasks],
              rate_limit_per_second: 100}}]}}
monitoring:  {{prometheus_port: null, log_level: info, log_format: json}}
worker:      {{concurrency: 4, heartbeat_interval_secs: 15, graceful_shutdown_timeout_secs: 60}}
backend:     {{kind: native}}
"""


def file_with(text: str, tmp_path: Path) -> str:
    file = tmp_path / "tq.yaml"
    file.write_text(text)
    return str(file)


def test_the_contracts_file_loads_for_broker_and_worker(tmp_path: Path) -> None:
    file = file_with(CONTRACT, tmp_path)

    broker, worker = load_broker(file), load_worker(file)

    assert broker.raft.peers == (Peer("node2", "host2:7379"), Peer("node3", "host3:7379"))
    assert broker.auth.api_keys[0].permissions == ("submit_tasks", "read_tasks")
    assert broker.auth.api_keys[0].rate_limit_per_second == 100
    assert worker.worker.concurrency == 4


def test_the_contracts_values_are_the_defaults(tmp_path: Path) -> None:
    plain = re.sub(r"raft:.*?\n(?=api)|auth:.*?\n(?=monitoring)", "", CONTRACT, flags=re.DOTALL)
    assert load_broker(file_with(plain, tmp_path)) == load_broker() == BrokerConfig()
    assert load_worker(file_with(plain, tmp_path)) == load_worker() == WorkerConfig()


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "---\n", "null", "broker:\nauth:\n  api_keys:\n", "\ufeffbroker: {}"]
)
def test_an_empty_file_or_section_leaves_the_defaults(text: str, tmp_path: Path) -> None:
    assert load_broker(file_with(text, tmp_path)) == BrokerConfig()


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(tmp_path: Path) -> None:
    file = file_with("broker: {port: 1, host: a}\napi: {rest_port: 2}\n", tmp_path)
    env = {"TQ_PORT": "11", "TQ_HOST": "b"}

    config = load_broker(file, env, {"port": 21})

    assert (config.broker.port, config.broker.host, config.api.rest_port) == (21, "b", 2)
    assert config.api.grpc_port == 9090


def test_an_empty_variable_and_a_flag_not_given_say_nothing() -> None:
    assert load_broker(None, {"TQ_PORT": ""}, {"port": None, "host": None}) == BrokerConfig()
    assert load_worker(None, {}, {"burst": False}) == WorkerConfig()


def test_the_environment_can_name_the_file(tmp_path: Path) -> None:
    assert load_broker(None, {"TQ_CONFIG": file_with("broker: {port: 7}", tmp_path)}).broker.port == 7


@pytest.mark.parametrize("model", [BrokerConfig, WorkerConfig])
def test_every_flag_has_a_twin_in_the_environment(model: type[BrokerConfig | WorkerConfig]) -> None:
    for name, flag in flags_of(model).items():
        assert flag.variable == "TQ_" + name.upper().replace("-", "_")


def test_the_contracts_flags_are_there() -> None:
    assert set(flags_of(BrokerConfig)) == {
        *("host", "port", "data-dir", "node-id", "rest-port", "grpc-port", "max-connections"),
        *("queue-depth-threshold", "tls-cert", "tls-key", "log-level", "log-format"),
    }
    assert set(flags_of(WorkerConfig)) >= {
        *("broker-addr", "concurrency", "kind", "queues", "worker-id", "heartbeat-interval"),
        *("graceful-shutdown-timeout", "api-key", "burst", "metrics-port", "log-level", "log-format"),
    }


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("${HOST_NAME}", "h1"),
        ("'${HOST_NAME}'", "h1"),
        ("x-${HOST_NAME}.${ZONE:-local}", "x-h1.local"),
        ("${ABSENT:-fallback}", "fallback"),
        ("${EMPTY:-fallback}", "fallback"),
    ],
)
@pytest.mark.parametrize("style", ["broker:\n  host: {}\n  port: 5\n", "broker: {{host: {}, port: 5}}\n"])
def test_any_value_may_name_a_variable_in_block_and_in_flow_style(
    style: str, written: str, host: str, tmp_path: Path
) -> None:
    env = {"HOST_NAME": "h1", "EMPTY": ""}

    config = load_broker(file_with(style.format(written), tmp_path), env)

    assert (config.broker.host, config.broker.port) == (host, 5)


def test_a_variable_becomes_the_type_its_setting_has(tmp_path: Path) -> None:
    text = "broker: {port: ${P}, session_grace_seconds: ${G:-2.5}}\nraft: {enabled: ${E}}\napi: {rest_port: ${N}}"

    config = load_broker(file_with(text, tmp_path), {"P": "7", "E": "off", "N": "8"})

    assert (config.broker.port, config.broker.session_grace_seconds) == (7, 2.5)
    assert (config.raft.enabled, config.api.rest_port) == (False, 8)


def test_a_variables_value_is_a_value_and_never_yaml(tmp_path: Path) -> None:
    file = file_with("persistence: {data_dir: ${DIR}}", tmp_path)
    assert (
        load_broker(file, {"DIR": "a, durability: relaxed}"}).persistence.data_dir
        == "a, durability: relaxed}"
    )


def test_a_doubled_dollar_is_a_plain_one(tmp_path: Path) -> None:
    assert load_broker(file_with("persistence: {data_dir: '$${x}'}", tmp_path)).persistence.data_dir == "${x}"


def test_a_workers_section_need_not_have_its_variables_where_a_broker_runs(tmp_path: Path) -> None:
    file = file_with(
        "worker: {api_key: ${KEY}}\nauth: {api_keys: [{name: ${WHO}, key_hash: ${H}, permissions: []}]}\n",
        tmp_path,
    )

    assert load_worker(file, {"KEY": "k"}).worker.api_key == "k"
    with pytest.raises(ConfigProblems) as caught:
        load_broker(file)
    assert {problem.path for problem in caught.value.problems} == {
        "auth.api_keys[0].name",
        "auth.api_keys[0].key_hash",
    }


def test_peers_may_be_a_plain_list_of_addresses(tmp_path: Path) -> None:
    peers = load_broker(file_with("raft: {peers: ['h2:1', '[::1]:2']}", tmp_path)).raft.peers
    assert peers == (Peer("h2:1", "h2:1"), Peer("[::1]:2", "[::1]:2"))


def test_a_node_that_finds_itself_among_the_peers_is_not_its_own_peer(tmp_path: Path) -> None:
    text = "raft: {enabled: true, node_id: a, secret: 0123456789abcdef, bind: 'h1:1', peers: {a: 'h1:1', b: 'h2:1'}}"
    assert load_broker(file_with(text, tmp_path)).raft.peers == (Peer("b", "h2:1"),)


def test_words_that_yaml_takes_for_other_types_stay_text(tmp_path: Path) -> None:
    assert load_broker(file_with("raft: {node_id: no}", tmp_path)).raft.node_id == "no"
    assert load_broker(file_with("raft: {node_id: 1}", tmp_path)).raft.node_id == "1"


def test_null_closes_a_door_and_a_quoted_null_does_not(tmp_path: Path) -> None:
    assert load_broker(file_with("api: {rest_port: null, grpc_port: ~}", tmp_path)).api.rest_port is None
    assert load_broker(None, {"TQ_REST_PORT": "none"}).api.rest_port is None
    with pytest.raises(ConfigProblems):
        load_broker(file_with("api: {rest_port: 'null'}", tmp_path))


def test_a_certificate_named_by_flags_turns_tls_on(tmp_path: Path) -> None:
    for name in ("cert", "key"):
        (tmp_path / name).write_text("pem")
    flags = {"tls-cert": str(tmp_path / "cert"), "tls-key": str(tmp_path / "key")}
    assert load_broker(None, {}, flags).api.enable_tls


@pytest.mark.parametrize("wrapped", ["%s", "{stackduck: %s}"], ids=["flat", "nested"])
def test_stackducks_stores_alone_choose_its_backend(tmp_path: Path, wrapped: str) -> None:
    text = "backend: " + wrapped % "{redis_url: 'redis://r:1', database_url: 'postgres://u@h/d'}"
    backend = load_broker(file_with(text, tmp_path)).backend
    assert backend.kind == "stackduck"
    assert backend.stores == ("redis://r:1", "postgres://u@h/d")


def test_several_broker_addresses_come_with_commas_or_as_a_list(tmp_path: Path) -> None:
    both = ("a:1", "b:2")
    assert load_worker(None, {"TQ_BROKER_ADDR": "a:1, b:2"}).worker.broker_addrs == both
    assert load_worker(None, {}, {"broker-addr": ["a:1", "b:2"]}).worker.broker_addrs == both
    assert (
        load_worker(file_with("worker: {broker_addrs: ['a:1', 'b:2']}", tmp_path)).worker.broker_addrs == both
    )


def test_a_key_has_a_limit_of_a_hundred_a_second_unless_it_says_otherwise(tmp_path: Path) -> None:
    key = f"{{name: NAME, permissions: [admin], key_hash: '{HASH}' REST}}"
    keys = [
        key.replace("NAME", "a").replace("REST", ""),
        key.replace("NAME", "b").replace("REST", ", rate_limit_per_second: null"),
    ]

    auth = load_broker(file_with(f"auth: {{enabled: true, api_keys: [{', '.join(keys)}]}}", tmp_path)).auth

    assert [each.rate_limit_per_second for each in auth.api_keys] == [100, None]
    assert auth.address_rate_limit_per_second is None


def test_what_differs_between_two_configurations_is_named() -> None:
    other = load_broker(None, {}, {"port": 1, "tls-cert": __file__, "tls-key": __file__})

    assert set(differences(load_broker(), other)) == {
        *("broker.port", "api.enable_tls", "api.tls_cert_path", "api.tls_key_path"),
    }
    assert list(differences(other, other)) == []


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_broker().broker.port = 1  # type: ignore[misc]


@pytest.mark.parametrize("sample", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_every_sample_file_loads_for_broker_and_worker(sample: Path) -> None:
    names = re.findall(r"\$\{(\w+)\}", sample.read_text())
    env = {name: str(sample) if name.endswith("_PATH") else HASH for name in names}

    load_broker(str(sample), env)
    load_worker(str(sample), env)


def test_the_page_holds_the_reference_tables_as_they_are_declared() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert reference() in page, "run python -m tq.config and put what it prints into docs/configuration.md"


def test_every_setting_says_what_it_means() -> None:
    for path, field in settings_of(File):
        assert field.metadata["setting"].doc.endswith((".", ")")), path


def test_the_permissions_are_those_the_broker_knows() -> None:
    from tq.broker.access import Permission

    assert {permission.value for permission in Permission} == set(PERMISSIONS)
