"""From the configuration's words to what a worker is made of."""

from __future__ import annotations

import ssl
from typing import cast

from tq.client.routing import parse_addresses
from tq.client.tls import client_context
from tq.config import WorkerSection
from tq.worker.definition import Kind
from tq.worker.runtime import WorkerOptions
from tq.worker.uplink import Dialing


def options_of(section: WorkerSection, app_path: str) -> WorkerOptions:
    """How the worker works. app_path: MODULE:APP, for the children of the process lane."""
    return WorkerOptions(
        concurrency=section.concurrency,
        kind=cast("Kind", section.kind),
        queues=section.queues,
        worker_id=section.worker_id or "",
        heartbeat_ms=round(section.heartbeat_interval_secs * 1000),
        grace_s=section.graceful_shutdown_timeout_secs,
        burst=section.burst,
        app_path=app_path,
        metrics_port=section.metrics_port,
    )


def dialing_of(section: WorkerSection) -> Dialing:
    """Where it connects and how. Raises BadRequest for an address or certificate that cannot be used."""
    return Dialing(parse_addresses(section.broker_addrs), section.api_key or "", _tls(section))


def _tls(section: WorkerSection) -> ssl.SSLContext | None:
    if not (section.tls or section.tls_ca or section.tls_insecure or section.tls_cert):
        return None
    return client_context(
        section.tls_ca, insecure=section.tls_insecure, cert=section.tls_cert, key=section.tls_key
    )
