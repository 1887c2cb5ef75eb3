"""A configuration file with keys and TLS, and a broker process that was started with it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lab.processes import Process, broker_address, start_broker, wait_until
from tests.access.keyring import hash_of
from tq.broker.tls import TlsFiles

RELOAD_SECONDS_MAX = 60.0

TOKENS = {
    "ops": ("ops-token-1", "admin"),
    "ci": ("ci-token-2", "submit_tasks, read_tasks"),
    "worker": ("worker-token-3", "work_tasks"),
}
"""key name -> its token, its permissions"""


def write_config(
    directory: Path,
    tokens: Mapping[str, tuple[str, str]],
    files: TlsFiles | None = None,
    more: str = "",
) -> Path:
    """tokens: key name -> (its token, its permissions as the file writes them). more: further lines."""
    lines = [more, "auth:", "  enabled: true", "  api_keys:"]
    for name, (token, permissions) in tokens.items():
        lines += [
            f"    - name: {name}",
            f"      key_hash: '{hash_of(token)}'",
            f"      permissions: [{permissions}]",
            "      rate_limit_per_second: null",
        ]
    if files is not None:
        lines += ["api:", "  enable_tls: true", f"  tls_cert_path: {files.cert_path}"]
        lines += [f"  tls_key_path: {files.key_path}"]
        if files.client_ca_path:
            lines += [f"  tls_client_ca_path: {files.client_ca_path}"]
    path = directory / "tq.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


@contextmanager
def running(directory: Path, config: Path, *arguments: str) -> Iterator[tuple[Process, str]]:
    """A broker that is ready, and its address."""
    with start_broker(directory, "--config", str(config), *arguments) as broker:
        yield broker, broker_address(broker)


def reload(broker: Process) -> list[dict[str, object]]:
    """Send SIGHUP and wait for the end of the reload. Returns what it logged, the outcome last."""
    before = len(_reloads(broker))
    seen = len(list(broker.events()))
    os.kill(broker.pid, signal.SIGHUP)
    wait_until(
        lambda: len(_reloads(broker)) > before,
        RELOAD_SECONDS_MAX,
        what=lambda: f"no end of the reload\n{broker.log_tail()}",
    )
    return list(broker.events())[seen:]


def _reloads(broker: Process) -> list[object]:
    ends = ("reloaded", "reload_refused", "reload_failed")
    return [line for line in broker.events() if line.get("event") in ends]
