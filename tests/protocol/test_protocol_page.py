"""docs/protocol.md says what the code does: its examples are replayed, its tables compared."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgpack
import pytest

from tests.protocol.pairs import Pair, new_pair
from tq.errors import BY_CODE
from tq.protocol import limits
from tq.protocol.answers import PUSHES, REPLIES
from tq.protocol.connection import Connection
from tq.protocol.events import (
    CloseReceived,
    Event,
    HelloReceived,
    PushReceived,
    ReplyReceived,
    RequestReceived,
    RequestRefused,
    Welcomed,
)
from tq.protocol.frame_types import TYPE_OF, FrameType
from tq.protocol.requests import REQUESTS
from tq.retry import RetryPolicy
from tq.task import Attempt, Cause, Counters, EndedTask, State, TaskSpec, TaskView
from tq.verbs import (
    REPLY_OF,
    DeadLetterGroup,
    Delivery,
    Existing,
    Failure,
    Latency,
    Member,
    Ping,
    QueueStats,
    QueueView,
    SettleItem,
    Submit,
    TypeStats,
    WorkerView,
)

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
NESTED: tuple[Any, ...] = (
    TaskSpec,
    EndedTask,
    RetryPolicy,
    TaskView,
    Attempt,
    Counters,
    Delivery,
    Existing,
    SettleItem,
    QueueStats,
    WorkerView,
    Member,
    QueueView,
    TypeStats,
    Latency,
    Failure,
    DeadLetterGroup,
)
CLASSES: list[Any] = [HelloReceived, Welcomed, *REQUESTS, *REPLIES, *PUSHES, *NESTED]


class Step(NamedTuple):
    """One frame of an example. body: its fields, as the page writes them."""

    speaker: str
    kind: str
    body: list[Any]
    data: bytes


def conversations() -> list[list[Step]]:
    return [steps_of(block) for block in re.findall(r"```frames\n(.*?)```", PAGE, re.DOTALL)]


def steps_of(block: str) -> list[Step]:
    steps = []
    for entry in re.split(r"\n(?=peer |broker )", block.strip("\n")):
        lines = entry.splitlines()
        code = [line for line in lines if re.fullmatch(r"    [0-9a-f ]+", line)]
        said = " ".join(line.strip() for line in lines if line not in code)
        speaker, kind, literal = said.split(" ", 2)
        steps.append(Step(speaker, kind, value_of(literal), bytes.fromhex("".join(code))))
    return steps


def value_of(literal: str) -> Any:
    literal = re.sub(r"h'([0-9a-f]*)'", lambda found: repr(bytes.fromhex(found[1])), literal)
    for word, python in (("true", "True"), ("false", "False"), ("nil", "None")):
        literal = re.sub(rf"\b{word}\b", python, literal)
    return ast.literal_eval(literal)


def say_again(speaker: Connection, event: Event, step: Step) -> None:
    """Make the speaker say what was heard, from the values alone."""
    if speaker.pending_out_bytes:
        return  # it has answered by itself: a refusal, or the answer to a ping
    if isinstance(event, HelloReceived):
        speaker.start_hello(event.role, event.token, event.name, event.software)
    elif isinstance(event, Welcomed):
        speaker.accept_hello(event.node_id, event.cluster_id, heartbeat_ms=event.heartbeat_ms)
    elif isinstance(event, RequestReceived):
        assert speaker.send_request(event.request) == event.request_id
    elif isinstance(event, RequestRefused):
        speaker.send_request(Submit(tuple(TaskSpec(*row) for row in step.body[1])))
    elif isinstance(event, ReplyReceived):
        speaker.send_reply(event.request_id, event.reply)
    elif isinstance(event, PushReceived):
        speaker.send_push(event.push)
    else:
        assert isinstance(event, CloseReceived)
        speaker.send_close(event.error)


def fields_of(name: str) -> list[str]:
    """The first column of the table below the heading (`### ...`) or the label (`Name`:) of a class."""
    rows, inside = [], False
    for line in PAGE.splitlines():
        if line.startswith("#") or line.endswith("`:"):
            title = line.partition(", answered by")[0]
            inside = title == f"### {name}" or f"`{name}`" in title
        elif inside and (row := re.match(r"\| `(\w+)` \|", line)):
            rows.append(row[1])
    return rows


@pytest.mark.parametrize("steps", conversations(), ids=lambda steps: steps[0].body[1])
def test_every_example_says_in_bytes_what_it_says_in_words(steps: list[Step]) -> None:
    for step in steps:
        assert int.from_bytes(step.data[:4], "big") == len(step.data) - 4
        assert step.data[4] == FrameType[step.kind]
        assert msgpack.unpackb(step.data[5:]) == step.body


@pytest.mark.parametrize("steps", conversations(), ids=lambda steps: steps[0].body[1])
def test_every_example_is_heard_and_said_again_the_same(steps: list[Step]) -> None:
    pair: Pair = new_pair()
    for step in steps:
        by_peer = step.speaker == "peer"
        speaker, hearer = (pair.peer, pair.broker) if by_peer else (pair.broker, pair.peer)

        heard = hearer.receive(step.data)
        if heard:
            say_again(speaker, heard[0], step)
        elif step.kind == "PING":
            speaker.send_request(Ping())

        assert speaker.data_to_send().hex(" ") == step.data.hex(" "), step


def test_there_is_a_conversation_of_each_role() -> None:
    assert [steps[0].body[1] for steps in conversations()] == list(limits.HELLO_ROLES)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_table_of_a_class_has_its_fields_in_order(kind: Any) -> None:
    name = {HelloReceived: "HELLO", Welcomed: "WELCOME"}.get(kind, kind.__name__)

    assert fields_of(name) == list(kind._fields)


@pytest.mark.parametrize("kind", [*REQUESTS, *PUSHES], ids=lambda kind: kind.__name__)
def test_heading_of_a_frame_has_its_number_and_its_answer(kind: Any) -> None:
    frame_type = TYPE_OF[kind]
    answer = f", answered by `{REPLY_OF[kind].__name__}`" if kind in REPLY_OF else ""

    assert f"\n### `{frame_type.name}` {int(frame_type)} · `{kind.__name__}`{answer}\n" in PAGE


def test_every_frame_type_is_named_with_its_number() -> None:
    missing = [kind.name for kind in FrameType if f"`{kind.name}` {int(kind)}" not in PAGE]

    assert not missing


def test_table_of_errors_is_complete_and_right() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (rejected|unavailable|unknown) \|", PAGE, re.MULTILINE)

    assert dict(rows) == {code: kind.outcome.value for code, kind in BY_CODE.items()}


def test_table_of_limits_has_the_values_of_the_code() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (\d+) \|", PAGE, re.MULTILINE)

    assert len(rows) > 10
    assert [(name, int(value)) for name, value in rows] == [(name, getattr(limits, name)) for name, _ in rows]


@pytest.mark.parametrize(("words", "heading"), [(State, "States"), (Cause, "Causes")])
def test_tables_of_numbers_have_the_words_of_the_code(words: type[State] | type[Cause], heading: str) -> None:
    section = cast(
        re.Match[str], re.search(rf"^### {heading}\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    )[1]
    rows = re.findall(r"^\| (\d) \| ([a-z ]+?)(?: \||:)", section, re.MULTILINE)

    assert {int(number): word for number, word in rows} == {
        int(member): member.name.lower().replace("_", " ") for member in words
    }
