"""The .proto files and what is made of them, and the ports they are served at."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grpc

from lab.processes import start_broker
from tq.proto import stackduck_pb2 as duck
from tq.proto import stackduck_pb2_grpc as duck_stubs

ROOT = Path(__file__).parents[2]

STACKDUCK_FIELDS = {
    "EnqueueJobRequest": "job_type payload priority delay max_retries scheduled_at",
    "EnqueueJobResponse": "job_id success error_message",
    "DequeueJobRequest": "queue_name worker_id",
    "DequeueJobResponse": "job success error_message",
    "DequeueRetriedJobRequest": "job",
    "DequeueRetriedJobResponse": "success",
    "ConsumeJobsRequest": "worker_id job_types",
    "JobMessage": "job notification_type",
    "RetryJobRequest": "job_id error_message",
    "RetryJobResponse": "success",
    "CompleteJobRequest": "job_id",
    "CompleteJobResponse": "success",
    "FailJobRequest": "job_id error_message",
    "FailJobResponse": "success",
    "GrpcJob": "id job_type payload status priority retry_count max_retries error_message delay "
    "scheduled_at started_at completed_at created_at updated_at",
}
"""StackDuck's messages: their fields in the order of their numbers, which begin at 1 and leave none out."""


def test_generated_modules_are_what_the_script_makes() -> None:
    check = [sys.executable, "scripts/protos.py", "--check"]
    run = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stdout + run.stderr


def test_stackducks_messages_have_their_fields_and_numbers() -> None:
    found = {
        name: {field.number: field.name for field in message.fields}
        for name, message in duck.DESCRIPTOR.message_types_by_name.items()
    }

    assert found == {name: dict(enumerate(fields.split(), 1)) for name, fields in STACKDUCK_FIELDS.items()}


def test_stackduck_has_its_own_port_when_the_configuration_names_one(tmp_path: Path) -> None:
    file = tmp_path / "tq.yaml"
    file.write_text("api: {stackduck_port: 0}\n")
    with start_broker(tmp_path, "--config", str(file)) as broker:
        addresses = broker.wait_for_event("ready")["addresses"]
        assert isinstance(addresses, dict)
        assert addresses["stackduck"] != addresses["grpc"]
        for name in ("stackduck", "grpc"):
            with grpc.insecure_channel(addresses[name]) as channel:
                service = duck_stubs.StackDuckServiceStub(channel)  # type: ignore[no-untyped-call]
                assert service.EnqueueJob(duck.EnqueueJobRequest(job_type="a", payload="1")).success
