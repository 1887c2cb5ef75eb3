"""A real broker and a real worker, scraped over HTTP."""

from __future__ import annotations

import socket
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families as parse

from lab.processes import broker_address, start_broker, start_worker
from tests.metrics.scrapes import Values, value, values
from tests.metrics.test_exporter import CONTRACT
from tq import Client

TASKS = 20
EVERYTHING = CONTRACT.keys() - {"tq_raft_follower_lag_entries"}


def scrape(address: str) -> tuple[set[str], Values]:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        found = list(parse(answer.read().decode()))
    return {family.name for family in found}, values(found)


def test_a_scrape_of_a_broker_at_work_agrees_with_its_statistics(tmp_path: Path) -> None:
    config = tmp_path / "tq.yaml"
    config.write_text("monitoring: {prometheus_port: 0}\n")
    with start_broker(tmp_path, "--config", str(config)) as broker:
        address = broker_address(broker)
        addresses = broker.wait_for_event("ready")["addresses"]
        assert isinstance(addresses, dict)
        metrics = addresses["metrics"]
        with start_worker(tmp_path, address), Client(address) as client:
            for task_id in [client.submit_task("echo", b"x") for _ in range(TASKS)]:
                client.wait_for_result(task_id, timeout=30)
            client.submit_task("unserved", b"x")
            names, found = scrape(metrics)
            stats = client.stats()

        assert names >= EVERYTHING
        assert value(found, "tq_tasks_total", status="completed", task_type="echo") == TASKS
        assert value(found, "tq_tasks_total", status="submitted", task_type="echo") == TASKS
        assert value(found, "tq_tasks_pending") == stats.pending_count == 1
        assert value(found, "tq_workers_connected") == stats.worker_count == 1
        run = "tq_task_processing_duration_seconds_count"
        assert value(found, run, task_type="echo") == TASKS
        assert value(found, "tq_task_queue_wait_seconds_count", queue="default") == TASKS
        assert value(found, "tq_raft_leader") == 1
        commits = value(found, "tq_commit_seconds_count")
        assert value(found, "tq_raft_commit_index") >= commits >= TASKS
        assert value(found, "tq_fsync_seconds_count") >= commits
        assert 0 < value(found, "tq_fsync_seconds_sum") < 60
        assert value(found, "tq_connections") == 2
        assert value(found, "process_resident_memory_bytes") > 0


def test_a_metrics_port_that_is_taken_stops_the_start_with_its_name(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = tmp_path / "tq.yaml"
        config.write_text(f"monitoring: {{prometheus_port: {taken.getsockname()[1]}}}\n")
        with start_broker(tmp_path, "--config", str(config)) as broker:
            assert broker.wait() != 0
            assert "metrics port" in broker.log_tail()
