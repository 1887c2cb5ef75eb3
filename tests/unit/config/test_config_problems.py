"""Every way a configuration can be wrong is told with place, fault and remedy, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tq.config import ConfigProblems, Problem, load_broker, load_worker
from tq.config.document import ALIASES_MAX, DEPTH_MAX, FILE_BYTES_MAX, parse_document
from tq.config.models import File
from tq.config.walk import Walk

HASH = "$2b$12$" + "a" * 53


def problems_of(text: str | bytes, tmp_path: Path, **env: str) -> list[Problem]:
    file = tmp_path / "tq.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigProblems) as caught:
        load_broker(str(file), env)
    assert {problem.file for problem in caught.value.problems} <= {str(file)}
    return caught.value.problems


BAD = {
    "a port too large": ("broker:\n  port: 70000", "broker.port", 2, 9, "larger than 65535", "from 0 to 65535"),
    "a port below nothing": ("broker: {port: -1}", "broker.port", 1, 16, "smaller than 0", "from 0 to 65535"),
    "a word for a number": ("broker: {port: many}", "broker.port", 1, 16, "not a whole number", "from 0"),
    "a fraction for a whole number": ("broker: {port: 1.5}", "broker.port", 1, 16, "not a whole number", "from 0"),
    "a list for a number": ("broker: {port: [1]}", "broker.port", 1, 16, "a list", "a whole number"),
    "nothing for a number": ("broker:\n  port:", "broker.port", 2, 8, "no value", "leave the line out"),
    "not a number": ("broker: {session_grace_seconds: .nan}", "broker.session_grace_seconds", 1, 33, "not a number", "3600"),
    "endless seconds": ("broker: {session_grace_seconds: inf}", "broker.session_grace_seconds", 1, 33, "range", "3600"),
    "a misspelt key": ("broker:\n  prot: 1", "broker.prot", 2, 3, "not known", "did you mean port?"),
    "a dash for an underscore": ("broker: {max-connections: 1}", "broker.max-connections", 1, 10, "not known", "max_connections"),
    "a misspelt section": ("persistance: {}", "persistance", 1, 1, "not known", "did you mean persistence?"),
    "a key unlike any": ("broker: {zzz: 1}", "broker.zzz", 1, 10, "not known", "the nearest is"),
    "a key of another section": ("broker: {durability: strict}", "broker.durability", 1, 10, "not known", "under persistence"),
    "a section inside another": ("broker:\n  raft: {}", "broker.raft", 2, 3, "not known", "at the top"),
    "a key twice": ("broker:\n  port: 1\n  port: 2", "broker.port", 3, 3, "line 2 already", "keep one"),
    "a section twice": ("broker: {}\nbroker: {}", "broker", 2, 1, "line 1 already", "keep one"),
    "a merge": ("x: &x {}\nbroker:\n  <<: *x", "broker.<<", 3, 3, "not known", "write the values out"),
    "a map for a key": ("broker:\n  {a: 1}: 2", "broker", 2, 3, "not a key", "host, port"),
    "a list for a section": ("broker: [1]", "broker", 1, 9, "this is a list", "a map with host"),
    "a text for a file": ("hello", "", 1, 1, "this is one value", "a map with broker"),
    "a list for a file": ("- broker", "", 1, 1, "this is a list", "a map with broker"),
    "a wrong choice": ("persistence: {durability: strikt}", "persistence.durability", 1, 27, "not a choice", "did you mean strict?"),
    "a wrong switch": ("raft: {enabled: maybe}", "raft.enabled", 1, 17, "neither true nor false", "true or false"),
    "a wrong host": ("broker: {host: 'a b'}", "broker.host", 1, 16, "not a host", "0.0.0.0"),
    "an address without a port": ("raft: {bind: host1}", "raft.bind", 1, 14, "not an address", "host:port"),
    "a host with an empty part": ("raft: {bind: 'a..b:1'}", "raft.bind", 1, 14, "not an address", "host:port"),
    "an address with a wrong port": ("raft: {bind: 'host1:x'}", "raft.bind", 1, 14, "not a whole number", "65535"),
    "a wrong peer": ("raft: {peers: [a:1, b]}", "raft.peers", 1, 21, "not an address", "host:port"),
    "one text for peers": ("raft: {peers: a}", "raft.peers", 1, 15, "is one value", "a list of host:port"),
    "a peer twice": ("raft: {peers: {a: 'h:1', a: 'h:2'}}", "raft.peers", 1, 26, "twice", "keep one"),
    "a variable not set": ("broker: {host: '${NOPE}'}", "broker.host", 1, 16, "NOPE is not set", "${NOPE:-default}"),
    "a broken reference": ("broker: {host: '${NO PE}'}", "broker.host", 1, 16, "not a reference", "${NAME}"),
    "a key without a hash": ("auth:\n  api_keys:\n  - {name: a, permissions: [admin]}", "auth.api_keys[0].key_hash", 3, 5, "missing", "bcrypt"),
    "a hash that takes hours to check": (
        f"auth:\n  api_keys:\n  - {{name: a, key_hash: '{HASH.replace('$12$', '$30$')}', permissions: [admin]}}",
        "auth.api_keys[0].key_hash", 3, 25, "does not fit", "a cost from 4 to 16",
    ),
    "a limit of nothing": (
        f"auth:\n  api_keys:\n  - {{name: a, key_hash: '{HASH}', permissions: [admin], rate_limit_per_second: 0}}",
        "auth.api_keys[0].rate_limit_per_second", 3, 134, "out of range", "0.001",
    ),
    "keys that are a map": ("auth: {api_keys: {a: b}}", "auth.api_keys", 1, 18, "this is a map", "a list"),
    "an unknown permission": (
        f"auth:\n  api_keys:\n  - {{name: a, key_hash: '{HASH}', permissions: [admn]}}",
        "auth.api_keys[0].permissions[0]", 3, 103, "not a choice", "did you mean admin?",
    ),
    "a tab": ("broker:\n\tport: 1", "", 2, 1, "tab", "spaces"),
    "broken YAML": ("broker: {port: 1", "", 1, 17, "not YAML", "brackets"),
    "a colon too many": ("broker: port: 1", "", 1, 13, "not YAML", "quotes"),
    "two documents": ("broker: {}\n---\nraft: {}", "", 2, 1, "not YAML", "second ---"),
    "a tag": ("broker: !!python/object:os.system {}", "", 1, 9, "tag", "take the tag out"),
    "a control character": ("broker: {host: \x07}", "", 1, 16, "U+0007", "take it out"),
    "a private character": ("broker: {host: \ue000}", "", 1, 16, "U+E000", "take it out"),
    "too many aliases": ("a: &a 1\nb: [" + "*a, " * (ALIASES_MAX + 1) + "]", "", 2, 405, "aliases", "write the values out"),
    "too deep": ("a: " + "[" * (DEPTH_MAX + 1), "", 1, 23, "deeper", "levels"),
    "a Latin-1 byte": (b"broker: {}\n# \xe9", "", 2, 1, "UTF-8", "UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "path", "line", "column", "fault", "remedy"), BAD.values(), ids=BAD.keys())
def test_a_fault_is_told_with_its_place_and_what_would_be_right(
    text: str | bytes, path: str, line: int, column: int, fault: str, remedy: str, tmp_path: Path
) -> None:
    found = problems_of(text, tmp_path)

    fitting = [problem for problem in found if problem.path == path and fault in problem.text]
    assert fitting, found
    assert (fitting[0].line, fitting[0].column) == (line, column)
    assert remedy in fitting[0].remedy


TOGETHER = {
    "a certificate without its key": ("api: {tls_cert_path: /x}", "api.tls_cert_path", "without its key", "tls_key_path"),
    "a key without its certificate": ("api: {tls_key_path: /x}", "api.tls_key_path", "without its cert", "tls_cert_path"),
    "TLS without a certificate": ("api: {enable_tls: true}", "api.enable_tls", "no certificate", "turn it off"),
    "a certificate that is not there": (
        "api: {enable_tls: true, tls_cert_path: /no/cert, tls_key_path: /no/key}",
        "api.tls_cert_path", "No such file", "may read",
    ),
    "client authorities without TLS": (
        "api: {tls_client_ca_path: /x}", "api.tls_client_ca_path", "TLS is off", "enable_tls: true",
    ),
    "a cluster without peers": ("raft: {enabled: true, bind: 'h:1'}", "raft.peers", "without peers", "name the other nodes"),
    "a cluster of itself": ("raft: {enabled: true, bind: 'h:1', peers: ['h:1']}", "raft.peers", "without peers", "name"),
    "one address for two peers": (
        "raft: {enabled: true, bind: 'h:1', peers: {a: 'g:1', b: 'g:1'}}", "raft.peers", "g:1 stands here twice", "its own",
    ),
    "itself at another address": (
        "raft: {enabled: true, bind: 'h:1', node_id: a, peers: {a: 'g:1'}}", "raft.peers", "a is this node", "leave",
    ),
    "nowhere to be reached": ("raft: {enabled: true, peers: ['h:1']}", "raft.advertise", "cannot reach", "host:port"),
    "an election too soon": ("raft: {election_timeout_ms: 200}", "raft.election_timeout_ms", "too near", "at least 300"),
    "a node's certificate without an authority": (
        "raft: {enabled: true, bind: 'h:1', peers: ['g:1'], tls_cert: /x, tls_key: /y}", "raft.tls_cert", "authority", "tls_ca",
    ),
    "nodes without a secret": (
        "raft: {enabled: true, bind: 'h:1', peers: ['g:1']}", "raft.secret", "from strangers", "the same on all",
    ),
    "an authority without a node's certificate": (
        "raft: {enabled: true, bind: 'h:1', peers: ['g:1'], secret: 0123456789abcdef, tls_ca: /x}",
        "raft.tls_ca", "nothing would be encrypted", "tls_cert",
    ),
    "keys asked for and none there": ("auth: {enabled: true}", "auth.enabled", "none is known", "hash-key"),
    "two keys of one name": (
        f"auth: {{api_keys: [{{name: a, key_hash: '{HASH}', permissions: [admin]}}, "
        f"{{name: a, key_hash: '{HASH}', permissions: [admin]}}]}}",
        "auth.api_keys", "two keys", "its own name",
    ),
    "a key that permits nothing": (
        f"auth: {{api_keys: [{{name: a, key_hash: '{HASH}', permissions: []}}]}}", "auth.api_keys", "nothing", "permissions",
    ),
    "one port for two doors": ("api: {rest_port: 6379}", "api.rest_port", "broker.port's already", "its own port"),
    "StackDuck without its stores": ("backend: {kind: stackduck}", "backend.stackduck", "not both named", "redis_url"),
    "native with StackDuck's stores": (
        "backend: {kind: native, stackduck: {redis_url: 'redis://r'}}", "backend.kind", "native", "say kind: stackduck",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "path", "fault", "remedy"), TOGETHER.values(), ids=TOGETHER.keys())
def test_settings_that_do_not_go_together_are_told(
    text: str, path: str, fault: str, remedy: str, tmp_path: Path
) -> None:
    found = problems_of(text, tmp_path)

    fitting = [problem for problem in found if problem.path == path and fault in problem.text]
    assert fitting, found
    assert remedy in fitting[0].remedy
    assert fitting[0].line == 1


@pytest.mark.parametrize(
    ("flags", "path", "text"),
    [
        ({"tls-cert": __file__}, "worker.tls_cert", "without its key"),
        ({"tls-key": __file__}, "worker.tls_key", "without its certificate"),
        ({"tls-ca": "/no/such"}, "worker.tls_ca", "cannot be read"),
        ({"tls-insecure": True, "tls-ca": __file__}, "worker.tls_insecure", "not to be checked"),
    ],
)
def test_a_workers_certificates_go_together_and_can_be_read(
    flags: dict[str, object], path: str, text: str
) -> None:
    with pytest.raises(ConfigProblems) as caught:
        load_worker(None, {}, flags)

    assert [problem.path for problem in caught.value.problems if text in problem.text] == [path]


def test_every_problem_is_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = "broker:\n  port: x\n  prot: 1\nraft:\n  enabled: maybe\napi: {enable_tls: true}\nwroker: {}\n"

    found = problems_of(text, tmp_path)

    assert [problem.line for problem in found] == [2, 3, 5, 6, 7]


def test_what_follows_only_from_a_faulty_value_is_not_told(tmp_path: Path) -> None:
    found = problems_of("auth:\n  enabled: true\n  api_keys:\n  - {name: a}\n", tmp_path)

    assert {problem.path for problem in found} == {
        "auth.api_keys[0].key_hash",
        "auth.api_keys[0].permissions",
    }


def test_the_message_names_file_line_and_column(tmp_path: Path) -> None:
    (tmp_path / "tq.yaml").write_text("broker:\n  port: x\n")

    with pytest.raises(ConfigProblems) as caught:
        load_broker(str(tmp_path / "tq.yaml"))

    assert str(caught.value).splitlines() == [
        "1 problem in the configuration",
        f"  {tmp_path}/tq.yaml:2:9: broker.port: 'x' is not a whole number; give a whole number from 0 to 65535",
    ]


def test_a_secret_is_never_in_a_message_or_a_repr(tmp_path: Path) -> None:
    found = problems_of("raft: {secret: hunter2}\nbackend: {stackduck: {redis_url: hunter2}}", tmp_path)
    assert len(found) == 2
    assert "hunter2" not in repr(found)
    assert "hunter2" not in repr(load_worker(None, {"TQ_API_KEY": "hunter2"}))


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_a_file_that_cannot_be_read_is_a_problem(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigProblems, match="cannot be read"):
        load_broker(str(tmp_path / name))


def test_a_huge_file_is_refused_without_being_read_whole(tmp_path: Path) -> None:
    (found,) = problems_of(b"#" * (FILE_BYTES_MAX + 1), tmp_path)
    assert "larger than" in found.text


def test_every_line_with_a_tab_is_told(tmp_path: Path) -> None:
    found = problems_of("broker:\n\tport: 1\n\thost: h\n", tmp_path)
    assert [problem.line for problem in found] == [2, 3]


def test_an_alias_that_holds_itself_is_walked_once(tmp_path: Path) -> None:
    assert problems_of("broker: &a {port: *a}", tmp_path)
    assert problems_of("raft: {peers: &a [*a]}", tmp_path)


def test_a_faulty_variable_or_flag_is_told_by_its_name() -> None:
    with pytest.raises(ConfigProblems) as caught:
        load_broker(None, {"TQ_PORT": "x"}, {"rest-port": 70000})
    assert [(problem.file, problem.path) for problem in caught.value.problems] == [
        ("command line", "--rest-port"),
        ("environment", "TQ_PORT"),
    ]


def test_a_port_variable_made_by_kubernetes_is_explained() -> None:
    with pytest.raises(ConfigProblems, match="enableServiceLinks"):
        load_broker(None, {"TQ_PORT": "tcp://10.0.0.1:6379"})


def test_a_flag_no_setting_has_is_the_programmers_fault() -> None:
    with pytest.raises(ValueError, match="colour"):
        load_broker(None, {}, {"colour": "red"})


_keys = st.sampled_from(
    ["broker", "raft", "auth", "api_keys", "peers", "port", "name", "key_hash", "<<", "1", "null", ""]
)
_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just("${X}")
)
_documents = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=20,
)


@given(_documents)
def test_any_document_gives_values_or_problems_and_nothing_else(document: object) -> None:
    import yaml

    try:
        node = parse_document(yaml.safe_dump(document, allow_unicode=True), "f")
    except ConfigProblems as problems:
        assert problems.problems
        return
    Walk("f", {}, frozenset({"broker"})).document(File, node)


@given(st.text(max_size=200))
def test_any_text_gives_values_or_problems_and_nothing_else(text: str) -> None:
    try:
        node = parse_document(text, "f")
    except ConfigProblems as problems:
        assert problems.problems
        return
    Walk("f", {}, frozenset({"broker"})).document(File, node)
