"""Traces: what a program that uses OpenTelemetry gets, and what one that does not pays."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags

from lab.processes import broker_address, start_broker
from tests.worker.harness import bench, run
from tq import AsyncClient, current
from tq.client.routing import parse_addresses
from tq.ids import new_id, to_text
from tq.spans import is_tracing, running, submitting
from tq.task import METADATA_BYTES_MAX, Cause, TaskSpec
from tq.verbs import Delivery
from tq.worker.app import App
from tq.worker.arguments import pack_arguments
from tq.worker.runtime import Worker, WorkerOptions
from tq.worker.uplink import Dialing

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE_ID, SPAN_ID = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7
SECRET = "s3cret"
NO_ARGUMENTS = pack_arguments((), {}, of="test")


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # The library lets a program set it once only.
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


def spec(**fields: object) -> TaskSpec:
    return TaskSpec(new_id(), "mail", SECRET.encode())._replace(**fields)  # type: ignore[arg-type]


def delivery(metadata: dict[str, str]) -> Delivery:
    return Delivery(new_id(), 7, "mail", SECRET.encode(), 2, 1_000, "q", 150, 0, 3, metadata)


def only(spans: InMemorySpanExporter) -> ReadableSpan:
    [span] = spans.get_finished_spans()
    return span


# ---------------------------------------------------------------- submitting


def test_nothing_is_traced_where_a_library_has_imported_it_and_nobody_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Redis' library does; each submit paid 28 us for spans that nobody saw."""
    asked: list[str] = []
    monkeypatch.setattr(trace, "get_tracer", lambda name, version: asked.append(name))
    task, delivered = spec(), delivery({})
    with submitting((task,)) as tasks, running(delivered) as ended:
        ended(Cause.DONE)
    assert (tasks, asked) == ((task,), [])


def test_a_provider_named_by_the_environment_records_from_the_first_submit_on() -> None:
    """Nothing in the program sets it up: the library does when it is asked, so it has to be asked."""
    code = """
import opentelemetry.trace as trace
from tq.spans import submitting
from tq.task import TaskSpec
with submitting((TaskSpec(b"0" * 16, "t"),)) as [sent]:
    assert "traceparent" in sent.metadata
assert type(trace.get_tracer_provider()).__module__.startswith("opentelemetry.sdk")
"""
    named = {**os.environ, "OTEL_PYTHON_TRACER_PROVIDER": "sdk_tracer_provider"}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=named)


def test_who_records_is_found_where_the_library_keeps_it_elsewhere(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = trace.get_tracer_provider()
    monkeypatch.delattr(trace, "_TRACER_PROVIDER")
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    assert is_tracing()
    monkeypatch.setattr(trace, "get_tracer_provider", trace.ProxyTracerProvider)
    assert not is_tracing()


def test_a_submit_is_a_producer_span_whose_trace_goes_with_the_task(spans: InMemorySpanExporter) -> None:
    task = spec(metadata={"user": "7"})
    with trace.get_tracer("test").start_as_current_span("request") as around, submitting((task,)) as sent:
        pass

    span = spans.get_finished_spans()[0]
    assert (span.name, span.kind) == ("tq.submit", SpanKind.PRODUCER)
    assert span.parent == around.get_span_context()
    assert span.attributes == {
        "messaging.system": "tq",
        "messaging.operation.name": "submit",
        "messaging.operation.type": "send",
        "messaging.destination.name": "default",
        "messaging.message.id": to_text(task.task_id),
        "tq.task_type": "mail",
    }
    context = span.get_span_context()
    assert context is not None
    carried = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    assert sent[0].metadata == {"user": "7", "traceparent": carried}
    assert task.metadata == {"user": "7"}


def test_a_batch_is_one_span(spans: InMemorySpanExporter) -> None:
    with submitting((spec(), spec())) as sent:
        pass

    attributes = only(spans).attributes
    assert attributes is not None
    assert attributes["messaging.batch.message_count"] == 2
    assert len({task.metadata["traceparent"] for task in sent}) == 1


def test_a_task_with_a_trace_of_its_own_keeps_it(spans: InMemorySpanExporter) -> None:
    with submitting((spec(metadata={"traceparent": PARENT}),)) as sent:
        pass

    assert sent[0].metadata == {"traceparent": PARENT}


def test_a_trace_never_makes_metadata_too_large(spans: InMemorySpanExporter) -> None:
    task = spec(metadata={"large": "x" * (METADATA_BYTES_MAX - 20)})
    with submitting((task,)) as sent:
        pass

    assert sent[0] is task


def test_with_the_api_alone_the_callers_context_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", trace.NoOpTracerProvider())
    remote = NonRecordingSpan(SpanContext(TRACE_ID, SPAN_ID, is_remote=True, trace_flags=TraceFlags(1)))
    with trace.use_span(remote), submitting((spec(),)) as sent:
        pass
    with submitting((spec(),)) as untraced:
        pass

    assert sent[0].metadata == {"traceparent": PARENT}
    assert untraced[0].metadata == {}


# ---------------------------------------------------------------- running


def test_an_attempt_is_a_consumer_span_under_the_one_that_submitted_it(spans: InMemorySpanExporter) -> None:
    task = delivery({"traceparent": PARENT, "tracestate": "a=1"})
    with running(task) as ended:
        with trace.get_tracer("test").start_as_current_span("inside"):
            pass
        ended(int(Cause.DONE))

    inside, span = spans.get_finished_spans()
    assert (span.name, span.kind) == ("tq.run", SpanKind.CONSUMER)
    assert span.parent is not None
    assert (span.parent.trace_id, span.parent.span_id) == (TRACE_ID, SPAN_ID)
    assert span.parent.trace_state.to_header() == "a=1"
    assert inside.parent == span.get_span_context()
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes == {
        "messaging.system": "tq",
        "messaging.operation.name": "run",
        "messaging.operation.type": "process",
        "messaging.destination.name": "q",
        "messaging.message.id": to_text(task.task_id),
        "tq.task_type": "mail",
        "tq.attempt": 2,
        "tq.outcome": "done",
    }


@pytest.mark.parametrize("metadata", [{}, {"traceparent": "garbage"}], ids=["none", "garbage"])
def test_a_task_without_a_good_trace_begins_one(
    spans: InMemorySpanExporter, metadata: dict[str, str]
) -> None:
    with trace.get_tracer("test").start_as_current_span("around"), running(delivery(metadata)):
        pass

    assert spans.get_finished_spans()[0].parent is None


def test_a_failed_attempt_is_an_error_without_its_text(spans: InMemorySpanExporter) -> None:
    async def scenario() -> None:
        app = App()

        @app.task(name="mail", kind="thread")
        def mail() -> None:
            raise ValueError(SECRET)

        async with bench(app) as it:
            ending = await it.broker.ending(it.broker.submit("mail", NO_ARGUMENTS))
            assert ending.cause == Cause.ERROR

    run(scenario())
    span = only(spans)
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["error.type"] == "error"
    assert SECRET not in span.to_json()


def test_what_passes_through_leaves_no_text_either(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match=SECRET), running(delivery({})):
        raise ValueError(SECRET)

    assert only(spans).name == "tq.run"
    assert SECRET not in only(spans).to_json()


class _Broken(SimpleSpanProcessor):
    def on_start(self, span: object, parent_context: object = None) -> None:
        raise RuntimeError("a tracer that fails")


def test_a_tracer_that_fails_costs_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nowhere(SpanExporter):
        pass

    provider = TracerProvider()
    provider.add_span_processor(_Broken(Nowhere()))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)

    async def scenario() -> None:
        app = App()

        @app.task(name="mail")
        async def mail() -> None: ...

        async with bench(app, WorkerOptions(concurrency=1)) as it:
            for _ in range(2):
                ending = await it.broker.ending(it.broker.submit("mail", NO_ARGUMENTS))
                assert "a tracer that fails" in ending.error

    run(scenario())


# ---------------------------------------------------------------- from end to end


def test_one_trace_leads_from_the_caller_through_the_broker_into_the_handler(
    spans: InMemorySpanExporter, tmp_path: Path
) -> None:
    seen: list[dict[str, str]] = []
    app = App()

    @app.handler("mail")
    async def mail(payload: bytes) -> bytes:
        seen.append(current().trace)
        return payload

    async def scenario(address: str) -> None:
        worker = Worker(app, WorkerOptions(), Dialing(parse_addresses(address), "", None))
        async with AsyncClient(address) as client:
            working = asyncio.create_task(worker.run())
            with trace.get_tracer("test").start_as_current_span("request"):
                task_id = await client.submit_task("mail", b"x")
            await client.wait_for_result(task_id, timeout=30)
            worker.drain()
            await working

    with start_broker(tmp_path) as broker:
        run(scenario(broker_address(broker)))
    by_name = {span.name: span for span in spans.get_finished_spans()}
    submit, attempt = by_name["tq.submit"], by_name["tq.run"]
    assert submit.parent == by_name["request"].get_span_context()
    assert attempt.parent is not None
    context = submit.get_span_context()
    assert context is not None
    assert (attempt.parent.trace_id, attempt.parent.span_id) == (context.trace_id, context.span_id)
    assert seen == [
        {"traceparent": f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"}
    ]


def test_a_program_that_does_not_use_it_does_not_load_it() -> None:
    code = """
import sys
from tq.spans import is_tracing, running, submitting
from tq.task import TaskSpec
task = TaskSpec(b"0" * 16, "t")
with submitting((task,)) as sent, running(None) as ended:
    ended(0)
assert sent == (task,)
import tq.client.sync, tq.client.aio, tq.worker.runtime
assert not [name for name in sys.modules if name.startswith(("opentelemetry", "prometheus_client"))]
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
