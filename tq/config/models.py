"""The settings: every section and value there is, with default, bounds and meaning.

The names are the configuration file's. Durations carry their unit in the name. A value here is always valid by
itself; what values mean together is checked in `rules`.
"""

from __future__ import annotations

from dataclasses import dataclass

from tq.config.settings import required, section, sections, setting
from tq.config.values import (
    NODE_ID,
    PATH,
    PORT,
    Address,
    Boolean,
    Choice,
    Host,
    Integer,
    Listed,
    Number,
    Optional,
    Peer,
    Peers,
    Text,
)
from tq.logs import FORMATS, LEVELS

PERMISSIONS = ("submit_tasks", "read_tasks", "cancel_tasks", "work_tasks", "admin")
DAYS_MAX = 3650
SECRET_CHARS_MIN = 16

_NAME = Text("a name of 1 to 255 characters", chars_max=255)
_CERTIFICATE = Optional(PATH, "none")
_RATE = Optional(Number(0.001, 1_000_000), "unlimited")
_TOKEN = Text("a key without spaces", r"[\x21-\x7e]+", secret=True)


@dataclass(frozen=True, slots=True)
class BrokerSection:
    """The broker's TCP door and its limits."""

    host: str = setting("0.0.0.0", Host(), "Address to listen on, for every door.", flag="host")
    port: int = setting(6379, PORT, "Port of the TCP protocol. 0: the system chooses.", flag="port")
    max_connections: int = setting(
        1000,
        Integer(1, 100_000),
        "Connections at a time; one more is told *too many connections* and closed.",
        flag="max-connections",
    )
    queue_depth_threshold: int = setting(
        100_000,
        Integer(1, 100_000_000),
        "Waiting tasks in all; beyond it a submit is answered *queue full* with a time to try again.",
        flag="queue-depth-threshold",
    )
    session_grace_seconds: float = setting(
        5.0,
        Number(0, 3600),
        "How long a worker whose connection broke keeps its tasks while it comes back.",
    )
    handshake_timeout_seconds: float = setting(
        10.0, Number(0.1, 600), "A connection that has not said hello by then is closed."
    )
    idle_timeout_seconds: float = setting(
        300.0,
        Number(1, 86_400),
        "A connection that sent nothing for so long, and waits for nothing, is closed.",
    )
    bytes_in_flight_per_connection: int = setting(
        64 * 1024 * 1024,
        Integer(1024 * 1024, 4 * 1024**3),
        "Bytes of requests under way and answers not yet taken; beyond it the connection is not read further.",
    )


@dataclass(frozen=True, slots=True)
class PersistenceSection:
    """What is kept on disk, how surely and how long."""

    data_dir: str = setting(
        "./data", PATH, "Directory of the log and the store; made when absent.", flag="data-dir"
    )
    durability: str = setting(
        "strict",
        Choice(("strict", "relaxed")),
        "`strict`: acknowledged means synced to disk. `relaxed`: the last moments may be lost with the machine.",
    )
    wal_sync_interval_ms: int = setting(
        0,
        Integer(0, 1000),
        "Longest time a commit waits for company before it is synced. 0: as soon as the disk is free.",
    )
    completed_task_retention_days: float = setting(
        7.0,
        Number(0, DAYS_MAX),
        "Days a completed, cancelled or expired task can still be asked for; looked at once a minute.",
    )
    dead_letter_retention_days: float = setting(
        30.0, Number(0, DAYS_MAX), "Days a dead-lettered task is kept for somebody to retry it."
    )


@dataclass(frozen=True, slots=True)
class RaftSection:
    """This node's place in a cluster."""

    enabled: bool = setting(False, Boolean(), "Replicate to the peers. Off: one broker by itself.")
    node_id: str = setting(
        "node1", NODE_ID, "This node's name, unique in the cluster and kept for ever.", flag="node-id"
    )
    bind: str = setting("0.0.0.0:7379", Address(), "Where peers may connect to.")
    advertise: str | None = setting(
        None, Optional(Address(), "bind"), "Where peers reach this node, if not at `bind`."
    )
    peers: tuple[Peer, ...] = setting(
        (), Peers(), "The other nodes: a map from node id to host:port, or a list of host:port."
    )
    join: bool = setting(
        False,
        Boolean(),
        "Begin as an observer that a cluster is to take in (`tq-admin add-node`). Without meaning once it did.",
    )
    election_timeout_ms: int = setting(
        1000, Integer(50, 60_000), "Silence of the leader after which others stand for election."
    )
    heartbeat_interval_ms: int = setting(100, Integer(10, 10_000), "How often the leader is heard from.")
    secret: str | None = setting(
        None,
        Optional(
            Text(
                f"at least {SECRET_CHARS_MIN} characters",
                rf"[^\x00-\x1f\x7f]{{{SECRET_CHARS_MIN},}}",
                secret=True,
            ),
            "none",
        ),
        "What nodes prove to each other to know, the same on all.",
        secret=True,
    )
    tls_ca: str | None = setting(
        None, _CERTIFICATE, "PEM file of the authority that signed the nodes' certificates."
    )
    tls_cert: str | None = setting(None, _CERTIFICATE, "PEM file with this node's certificate.")
    tls_key: str | None = setting(None, _CERTIFICATE, "PEM file with the key of that certificate.")


@dataclass(frozen=True, slots=True)
class ApiSection:
    """The REST and gRPC doors, and TLS for every door."""

    rest_port: int | None = setting(
        8080, Optional(PORT), "Port of REST and dashboard. null: closed.", flag="rest-port"
    )
    grpc_port: int | None = setting(9090, Optional(PORT), "Port of gRPC. null: closed.", flag="grpc-port")
    stackduck_port: int | None = setting(
        None,
        Optional(PORT),
        "A second port of gRPC, for clients of StackDuck that expect theirs (50051). null: only at `grpc_port`.",
    )
    enable_tls: bool = setting(
        False, Boolean(), "Serve TLS at every door (TCP, REST, gRPC, metrics). `--tls-cert` turns it on."
    )
    tls_cert_path: str | None = setting(
        None, _CERTIFICATE, "PEM file with the certificate and its chain.", flag="tls-cert"
    )
    tls_key_path: str | None = setting(
        None, _CERTIFICATE, "PEM file with the key of that certificate.", flag="tls-key"
    )
    tls_client_ca_path: str | None = setting(
        None,
        _CERTIFICATE,
        "PEM file of the authorities whose clients are let in. null: clients need no certificate.",
    )


@dataclass(frozen=True, slots=True)
class ApiKeySection:
    """One key and what it permits."""

    name: str = required(_NAME, "Who this is; appears in logs and refusals.")
    key_hash: str = required(
        Text(
            "a bcrypt hash of a cost from 4 to 16, as `tq-admin hash-key` prints it, in quotes",
            r"\$2[aby]\$(0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}",
            secret=True,
        ),
        "bcrypt hash of the key.",
        secret=True,
    )
    permissions: tuple[str, ...] = required(
        Listed(Choice(PERMISSIONS)), "What the key permits; `admin` is everything."
    )
    rate_limit_per_second: float | None = setting(
        100.0,
        _RATE,
        "Requests a second, each task of a batch counted, with a burst of one second's worth.",
    )


@dataclass(frozen=True, slots=True)
class AuthSection:
    """Who may use the broker."""

    enabled: bool = setting(False, Boolean(), "Ask for a key at every door.")
    api_keys: tuple[ApiKeySection, ...] = sections(ApiKeySection, "The keys.")
    address_rate_limit_per_second: float | None = setting(
        None, _RATE, "The same limit for each address, while keys are off."
    )


@dataclass(frozen=True, slots=True)
class MonitoringSection:
    """Logs and metrics, of brokers and workers alike."""

    prometheus_port: int | None = setting(
        None, Optional(PORT), "Port for `/metrics` alone. null: only at the REST port."
    )
    log_level: str = setting(
        "info", Choice(tuple(LEVELS)), "The least severe line that is written.", flag="log-level"
    )
    log_format: str = setting(
        "json", Choice(FORMATS), "`json`: one object a line. `text`: for people.", flag="log-format"
    )


@dataclass(frozen=True, slots=True)
class WorkerSection:
    """A worker process."""

    app: str = setting(
        "",
        Text("module:name", r"([A-Za-z_][\w.]*:[A-Za-z_][\w.]*)?"),
        "The App to serve, as `module:name`. Empty: the built-in handlers.",
    )
    broker_addrs: tuple[str, ...] = setting(
        ("127.0.0.1:6379",),
        Listed(Address()),
        "Brokers to work for; the first that answers is taken.",
        flag="broker-addr",
    )
    api_key: str | None = setting(
        None, Optional(_TOKEN, "none"), "Key with the permission `work_tasks`.", flag="api-key", secret=True
    )
    tls: bool = setting(False, Boolean(), "Connect with TLS.", flag="tls", switch=True)
    tls_ca: str | None = setting(
        None,
        _CERTIFICATE,
        "PEM file of the authority to trust instead of the system's; turns TLS on.",
        flag="tls-ca",
    )
    tls_insecure: bool = setting(
        False,
        Boolean(),
        "Connect with TLS and do not check who answers. For trials only.",
        flag="tls-insecure",
        switch=True,
    )
    tls_cert: str | None = setting(
        None,
        _CERTIFICATE,
        "PEM file with the certificate to show a broker that asks for one; turns TLS on.",
        flag="tls-cert",
    )
    tls_key: str | None = setting(
        None, _CERTIFICATE, "PEM file with the key of that certificate.", flag="tls-key"
    )
    concurrency: int = setting(4, Integer(1, 10_000), "Tasks run at a time.", flag="concurrency")
    kind: str = setting(
        "auto",
        Choice(("auto", "async", "thread", "process")),
        "Where handlers run. `auto`: async functions on the loop, others in threads.",
        flag="kind",
    )
    queues: tuple[str, ...] = setting(
        (),
        Listed(_NAME),
        "Queues to serve. Empty: those that the App's tasks name, and `default`.",
        flag="queues",
    )
    worker_id: str | None = setting(
        None,
        Optional(_NAME, "host and process id"),
        "This worker's name; may be used again after a restart.",
        flag="worker-id",
    )
    heartbeat_interval_secs: float = setting(
        15.0,
        Number(0.1, 3600),
        "How often the worker says it lives; silent for two, its tasks go back.",
        flag="heartbeat-interval",
    )
    graceful_shutdown_timeout_secs: float = setting(
        60.0,
        Number(0, 86_400),
        "After a stop was asked for, how long running tasks may go on before they are handed back.",
        flag="graceful-shutdown-timeout",
    )
    metrics_port: int | None = setting(
        None, Optional(PORT), "Port for the worker's `/metrics`. null: none.", flag="metrics-port"
    )
    burst: bool = setting(False, Boolean(), "Stop when the queues are empty.", flag="burst", switch=True)


_REDIS_URL = Optional(Text("redis://host:port/db", r"rediss?://\S+", secret=True), "none")
_DATABASE_URL = Optional(
    Text("postgres://user:password@host/database", r"postgres(ql)?://\S+", secret=True), "none"
)


@dataclass(frozen=True, slots=True)
class StackduckSection:
    """Where StackDuck's data is."""

    redis_url: str | None = setting(None, _REDIS_URL, "Its Redis.", secret=True)
    database_url: str | None = setting(None, _DATABASE_URL, "Its PostgreSQL.", secret=True)


@dataclass(frozen=True, slots=True)
class BackendSection:
    """What keeps the tasks."""

    kind: str = setting(
        "native",
        Choice(("native", "stackduck")),
        "`native`: tq's own log and store. `stackduck`: the stores of a StackDuck deployment.",
    )
    redis_url: str | None = setting(None, _REDIS_URL, "For `stackduck`: its Redis.", secret=True)
    database_url: str | None = setting(None, _DATABASE_URL, "For `stackduck`: its PostgreSQL.", secret=True)
    stackduck: StackduckSection = section(StackduckSection)

    @property
    def stores(self) -> tuple[str | None, str | None]:
        """StackDuck's Redis and PostgreSQL, wherever they are named."""
        return self.redis_url or self.stackduck.redis_url, self.database_url or self.stackduck.database_url


@dataclass(frozen=True, slots=True)
class BrokerConfig:
    """Everything `tq-broker` needs to know."""

    broker: BrokerSection = section(BrokerSection)
    persistence: PersistenceSection = section(PersistenceSection)
    raft: RaftSection = section(RaftSection)
    api: ApiSection = section(ApiSection)
    auth: AuthSection = section(AuthSection)
    monitoring: MonitoringSection = section(MonitoringSection)
    backend: BackendSection = section(BackendSection)


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Everything `tq-worker` needs to know."""

    worker: WorkerSection = section(WorkerSection)
    monitoring: MonitoringSection = section(MonitoringSection)


@dataclass(frozen=True, slots=True)
class File:
    """All that may stand in a file: brokers and workers can share one."""

    broker: BrokerSection = section(BrokerSection)
    persistence: PersistenceSection = section(PersistenceSection)
    raft: RaftSection = section(RaftSection)
    api: ApiSection = section(ApiSection)
    auth: AuthSection = section(AuthSection)
    monitoring: MonitoringSection = section(MonitoringSection)
    worker: WorkerSection = section(WorkerSection)
    backend: BackendSection = section(BackendSection)
