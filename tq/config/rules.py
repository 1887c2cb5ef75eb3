"""What settings mean together: one rule a function, each yielding what is wrong and what would be right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tq.config.models import BrokerConfig, WorkerConfig
from tq.config.problems import Place
from tq.config.walk import Path

HEARTBEATS_PER_ELECTION_MIN = 3
"""With fewer, one late heartbeat on a busy machine costs an election."""
_EVERY_ADDRESS = ("0.0.0.0", "[::]", "*")


class Finding(NamedTuple):
    """reads: the settings it follows from, the one to blame first."""

    reads: tuple[Path, ...]
    text: str
    remedy: str


def for_broker(config: BrokerConfig, given: Mapping[Path, Place]) -> Iterator[Finding]:
    """Everything a broker cannot start with. given: where each value that is not a default was written."""
    yield from _broker_tls(config)
    yield from _ports(config)
    yield from _raft_timing(config)
    if config.raft.enabled:
        yield from _raft_members(config)
        yield from _raft_tls(config)
    yield from _auth(config)
    yield from _backend(config, given)


def for_worker(config: WorkerConfig, given: Mapping[Path, Place]) -> Iterator[Finding]:
    """Everything a worker cannot start with."""
    worker = config.worker
    yield from _pair(("worker", "tls_cert"), worker.tls_cert, ("worker", "tls_key"), worker.tls_key)
    for name in ("tls_ca", "tls_cert", "tls_key"):
        yield from _readable(("worker", name), getattr(worker, name))
    if worker.tls_insecure and worker.tls_ca:
        yield Finding(
            (("worker", "tls_insecure"), ("worker", "tls_ca")),
            "an authority is named and not to be checked",
            "leave out tls_insecure, or tls_ca",
        )


def _broker_tls(config: BrokerConfig) -> Iterator[Finding]:
    api = config.api
    yield from _pair(("api", "tls_cert_path"), api.tls_cert_path, ("api", "tls_key_path"), api.tls_key_path)
    if api.enable_tls and not (api.tls_cert_path or api.tls_key_path):
        yield Finding(
            (("api", "enable_tls"), ("api", "tls_cert_path"), ("api", "tls_key_path")),
            "TLS is on and no certificate is named",
            "give api.tls_cert_path and api.tls_key_path, or turn it off",
        )
    if api.enable_tls:
        yield from _readable(("api", "tls_cert_path"), api.tls_cert_path)
        yield from _readable(("api", "tls_key_path"), api.tls_key_path)
        yield from _readable(("api", "tls_client_ca_path"), api.tls_client_ca_path)
    elif api.tls_client_ca_path:
        yield Finding(
            (("api", "tls_client_ca_path"), ("api", "enable_tls")),
            "clients are to show certificates and TLS is off",
            "set api.enable_tls: true, or take the authorities out",
        )


def _raft_tls(config: BrokerConfig) -> Iterator[Finding]:
    raft = config.raft
    yield from _pair(("raft", "tls_cert"), raft.tls_cert, ("raft", "tls_key"), raft.tls_key)
    if not (raft.secret or raft.tls_ca or raft.tls_cert or raft.tls_key):
        yield Finding(
            (("raft", "secret"), ("raft", "enabled")),
            "nodes could not tell each other from strangers",
            "give raft.secret (the same on all), or raft.tls_ca, tls_cert and tls_key",
        )
    if raft.tls_ca and not (raft.tls_cert or raft.tls_key):
        yield Finding(
            (("raft", "tls_ca"), ("raft", "tls_cert")),
            "an authority without a certificate of this node's own: nothing would be encrypted",
            "give raft.tls_cert and raft.tls_key too, or take the authority out",
        )
    if raft.tls_cert and not raft.tls_ca:
        yield Finding(
            (("raft", "tls_cert"), ("raft", "tls_ca")),
            "a certificate without the authority that signed the others'",
            "give raft.tls_ca too",
        )
    for name in ("tls_ca", "tls_cert", "tls_key"):
        yield from _readable(("raft", name), getattr(raft, name))


def _pair(cert_path: Path, cert: str | None, key_path: Path, key: str | None) -> Iterator[Finding]:
    if cert and not key:
        yield Finding(
            (cert_path, key_path), "a certificate without its key", f"give {'.'.join(key_path)} too"
        )
    if key and not cert:
        yield Finding(
            (key_path, cert_path), "a key without its certificate", f"give {'.'.join(cert_path)} too"
        )


def _readable(path: Path, file: str | None) -> Iterator[Finding]:
    if file is None:
        return
    try:
        with open(file, "rb") as stream:
            stream.read(1)
    except OSError as error:
        text = f"{file!r} cannot be read: {error.strerror or error}"
        yield Finding((path,), text, "name a PEM file that this user may read")


def _ports(config: BrokerConfig) -> Iterator[Finding]:
    raft_port = int(config.raft.bind.rpartition(":")[2]) if config.raft.enabled else None
    doors = [
        (("broker", "port"), config.broker.port),
        (("api", "rest_port"), config.api.rest_port),
        (("api", "grpc_port"), config.api.grpc_port),
        (("api", "stackduck_port"), config.api.stackduck_port),
        (("monitoring", "prometheus_port"), config.monitoring.prometheus_port),
        (("raft", "bind"), raft_port),
    ]
    owner: dict[int, Path] = {}
    for path, port in doors:
        if not port:
            continue
        if port in owner:
            other = ".".join(owner[port])
            yield Finding(
                (path, owner[port]), f"port {port} is {other}'s already", "give each door its own port"
            )
        owner.setdefault(port, path)


def _raft_timing(config: BrokerConfig) -> Iterator[Finding]:
    raft = config.raft
    least = raft.heartbeat_interval_ms * HEARTBEATS_PER_ELECTION_MIN
    if raft.election_timeout_ms < least:
        yield Finding(
            (("raft", "election_timeout_ms"), ("raft", "heartbeat_interval_ms")),
            f"{raft.election_timeout_ms} ms is too near to the heartbeat's {raft.heartbeat_interval_ms} ms",
            f"give at least {least}, better ten heartbeats",
        )


def _raft_members(config: BrokerConfig) -> Iterator[Finding]:
    raft = config.raft
    reads: tuple[Path, ...] = (("raft", "peers"), ("raft", "enabled"))
    own_address = raft.advertise or raft.bind
    others = [peer for peer in raft.peers if peer.address != own_address]
    if not others:
        yield Finding(reads, "a cluster without peers", "name the other nodes, or set raft.enabled: false")
    addresses = [peer.address for peer in raft.peers]
    for address in sorted({each for each in addresses if addresses.count(each) > 1}):
        yield Finding(reads, f"the address {address} stands here twice", "give each node its own")
    for peer in others:
        if peer.node_id == raft.node_id:
            text = f"{raft.node_id} is this node, and its address here is not {own_address}"
            yield Finding(
                (*reads, ("raft", "node_id")), text, "leave this node out, or make the addresses agree"
            )
    if own_address.rpartition(":")[0] in _EVERY_ADDRESS:
        yield Finding(
            (("raft", "advertise"), ("raft", "bind"), ("raft", "enabled")),
            f"peers cannot reach {own_address}",
            "give raft.advertise: host:port, as the other nodes see this one",
        )


def _auth(config: BrokerConfig) -> Iterator[Finding]:
    keys = config.auth.api_keys
    path = ("auth", "api_keys")
    if config.auth.enabled and not keys:
        yield Finding(
            (("auth", "enabled"), path),
            "keys are asked for and none is known",
            "add one under auth.api_keys (tq-admin hash-key makes the hash), or turn it off",
        )
    names = [key.name for key in keys]
    for name in sorted({each for each in names if names.count(each) > 1}):
        yield Finding((path,), f"two keys are called {name!r}", "give each key its own name")
    for key in keys:
        if not key.permissions:
            yield Finding(
                (path,), f"the key {key.name!r} permits nothing", "give it permissions, or take it out"
            )


def _backend(config: BrokerConfig, given: Mapping[Path, Place]) -> Iterator[Finding]:
    backend = config.backend
    if backend.kind == "stackduck" and not all(backend.stores):
        yield Finding(
            (("backend", "stackduck"), ("backend", "kind")),
            "StackDuck's stores are not both named",
            "give backend.redis_url and backend.database_url",
        )
    if backend.kind == "native" and any(backend.stores) and ("backend", "kind") in given:
        yield Finding(
            (("backend", "kind"), ("backend", "stackduck")),
            "kind is native, and StackDuck's stores are named",
            "say kind: stackduck, or take the stackduck section out",
        )
