"""OpenTelemetry spans around submitting and running tasks, for programs that use OpenTelemetry.

Rules of the file:
- A program uses OpenTelemetry when it has imported it. Whoever does not pays one look-up in `sys.modules`: nothing is
  imported for them, and nothing need be installed. Other libraries import it too: where nobody has set up who records,
  and no trace is under way, there is nothing to do, and it is not done; and as that is asked for every task, the
  question costs next to nothing, too (`is_tracing`).
- The trace travels in the task's metadata (`tq.trace_context`). With the API alone nothing is recorded, and the caller's
  context is passed on all the same.
- Spans hold names, ids and outcomes. Payloads, results and texts of errors are not for everybody who may read traces.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import TypeAlias

from tq import ids
from tq.protocol.limits import METADATA_ITEMS_MAX
from tq.task import METADATA_BYTES_MAX, Cause, TaskSpec
from tq.trace_context import TRACEPARENT, trace_metadata, trace_of
from tq.verbs import Delivery
from tq.version import VERSION

SUBMIT_SPAN, RUN_SPAN = "tq.submit", "tq.run"
SYSTEM = "tq"
_LIBRARY, _CONTEXTS = "opentelemetry.trace", "opentelemetry.context"
_PROVIDER_VARIABLE = "OTEL_PYTHON_TRACER_PROVIDER"
_FAILURES = frozenset({Cause.ERROR, Cause.TIMEOUT, Cause.CRASH, Cause.FATAL})

Ended: TypeAlias = Callable[[int], None]
"""Takes the Cause that an attempt ended with."""


def is_tracing() -> bool:
    """Whether spans are recorded, or a trace is under way that has to be passed on."""
    trace = sys.modules.get(_LIBRARY)
    if trace is None:
        return False
    # Who records is a variable of the library's; its public answer looks into the environment first, each time, which
    # costs more than all else here. Where a release has no such variable, the library itself is asked.
    if (getattr(trace, "_TRACER_PROVIDER", trace) is not None or _is_provider_named()) and _is_recorded():
        return True
    return bool(sys.modules[_CONTEXTS].get_current()) and _is_under_way()


@cache
def _is_provider_named() -> bool:
    """Whether the environment says who records. Read once: a program is started with it."""
    return _PROVIDER_VARIABLE in os.environ


def _is_recorded() -> bool:
    from opentelemetry.trace import ProxyTracerProvider, get_tracer_provider

    return not isinstance(get_tracer_provider(), ProxyTracerProvider)


def _is_under_way() -> bool:
    from opentelemetry.trace import get_current_span

    return get_current_span().get_span_context().is_valid


def submitting(tasks: tuple[TaskSpec, ...]) -> AbstractContextManager[tuple[TaskSpec, ...]]:
    """A producer span around a submit; gives the tasks with the trace in their metadata.

    A task that carries a trace of its own keeps it.
    """
    return _submitting(tasks) if tasks and is_tracing() else nullcontext(tasks)


def running(delivery: Delivery) -> AbstractContextManager[Ended]:
    """A consumer span around one attempt, child of the one that submitted the task; to be told how it ended.

    It is the current span inside, so what the handler does hangs on it.
    """
    if _LIBRARY in sys.modules and (is_tracing() or trace_of(delivery.metadata)):
        return _running(delivery)
    return _UNHEARD


@contextmanager
def _submitting(tasks: tuple[TaskSpec, ...]) -> Iterator[tuple[TaskSpec, ...]]:
    from opentelemetry.trace import SpanKind, get_tracer
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    first = tasks[0]
    attributes: dict[str, str | int] = {
        "messaging.system": SYSTEM,
        "messaging.operation.name": "submit",
        "messaging.operation.type": "send",
        "messaging.destination.name": first.queue,
        "tq.task_type": first.task_type,
    }
    if len(tasks) == 1:
        attributes["messaging.message.id"] = ids.to_text(first.task_id)
    else:
        # Queue and type are the first task's: a batch has no others of its own.
        attributes["messaging.batch.message_count"] = len(tasks)
    tracer = get_tracer(SYSTEM, VERSION)
    with tracer.start_as_current_span(SUBMIT_SPAN, kind=SpanKind.PRODUCER, attributes=attributes):
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        yield _with_trace(tasks, carrier)


def carried(
    tasks: Sequence[TaskSpec], traceparent: str | None, tracestate: str | None
) -> tuple[TaskSpec, ...]:
    """The tasks with the trace context of the request that brought them, from its two headers; for doors.

    A task that carries a trace of its own keeps it. What is no good is ignored, as the standard says.
    """
    return _with_trace(tasks, trace_metadata(traceparent, tracestate))


def _with_trace(tasks: Sequence[TaskSpec], carrier: dict[str, str]) -> tuple[TaskSpec, ...]:
    return tuple(_with_its_trace(task, carrier) for task in tasks) if carrier else tuple(tasks)


def _with_its_trace(task: TaskSpec, carrier: dict[str, str]) -> TaskSpec:
    if not task.metadata:
        return task._replace(metadata=carrier)  # one map for the whole batch: nobody writes to it
    if TRACEPARENT in task.metadata:
        return task
    merged = {**task.metadata, **carrier}
    # A task is not refused for the sake of its trace.
    return task._replace(metadata=merged) if _fits(merged) else task


def _fits(metadata: dict[str, str]) -> bool:
    size = sum(len(name.encode()) + len(text.encode()) for name, text in metadata.items())
    return size <= METADATA_BYTES_MAX and len(metadata) <= METADATA_ITEMS_MAX


@contextmanager
def _running(delivery: Delivery) -> Iterator[Ended]:
    from opentelemetry.trace import SpanKind, StatusCode, get_tracer
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    attributes: dict[str, str | int] = {
        "messaging.system": SYSTEM,
        "messaging.operation.name": "run",
        "messaging.operation.type": "process",
        "messaging.destination.name": delivery.queue,
        "messaging.message.id": ids.to_text(delivery.task_id),
        "tq.task_type": delivery.task_type,
        "tq.attempt": delivery.attempt,
    }
    tracer = get_tracer(SYSTEM, VERSION)
    # An empty context when there is none: what the lane's thread did before is not what asked for this task.
    parent = TraceContextTextMapPropagator().extract(trace_of(delivery.metadata))
    with tracer.start_as_current_span(
        RUN_SPAN,
        context=parent,
        kind=SpanKind.CONSUMER,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:

        def ended(cause: int) -> None:
            word = Cause(cause).name.lower()
            span.set_attribute("tq.outcome", word)
            if cause in _FAILURES:
                span.set_attribute("error.type", word)
                span.set_status(StatusCode.ERROR, word)

        yield ended


def _unheard(_cause: int) -> None:
    """Nobody traces."""


_UNHEARD: AbstractContextManager[Ended] = nullcontext(_unheard)
"""One for all attempts: it holds nothing of any of them."""
