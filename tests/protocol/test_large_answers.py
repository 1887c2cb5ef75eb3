"""An answer too large for one frame is said in several, or refused with advice; nothing of it is lost."""

from __future__ import annotations

import pytest

from tests.protocol.cases import DELIVERY, SHORT_VIEW
from tests.protocol.pairs import open_pair
from tq.errors import (
    BadRequest,
)
from tq.protocol.events import (
    Event,
    PushReceived,
    ReplyReceived,
)
from tq.task import PAYLOAD_BYTES_MAX, TaskView
from tq.verbs import (
    Abort,
    Claim,
    Claimed,
    Deliver,
    Draining,
    GetTask,
    ListTasks,
    Push,
    TaskEnded,
    TaskPage,
    Watch,
    Watching,
)

PAYLOAD = bytes(PAYLOAD_BYTES_MAX)


def rows_of(pushes: list[Event]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for event in pushes:
        assert isinstance(event, PushReceived) and not isinstance(event.push, Draining)
        rows += event.push[0]
    return rows


@pytest.mark.parametrize(
    "push",
    [
        Deliver(tuple(DELIVERY._replace(token=n, payload=PAYLOAD) for n in range(5))),
        TaskEnded(tuple(SHORT_VIEW._replace(token=n, result=PAYLOAD) for n in range(5))),
        Abort(tuple((b"i" * 16, n, "r" * 900_000) for n in range(50))),
    ],
    ids=lambda push: type(push).__name__,
)
def test_push_too_large_for_a_frame_goes_out_as_several_in_order(push: Push) -> None:
    pair = open_pair()
    pair.broker.send_push(push)

    events = pair.to_peer()

    assert len(events) > 1
    assert not isinstance(push, Draining)
    assert rows_of(events) == list(push[0])


def test_claimed_too_large_for_a_frame_is_continued_by_deliver() -> None:
    pair = open_pair()
    pair.peer.send_request(Claim(5))
    pair.to_broker()
    tasks = tuple(DELIVERY._replace(token=n, payload=PAYLOAD) for n in range(5))

    pair.broker.send_reply(1, Claimed(tasks))

    reply, *pushes = pair.to_peer()
    assert isinstance(reply, ReplyReceived) and isinstance(reply.reply, Claimed)
    assert [*reply.reply.tasks, *rows_of(pushes)] == list(tasks)


def test_watching_too_large_for_a_frame_is_continued_by_task_ended() -> None:
    pair = open_pair()
    pair.peer.send_request(Watch((b"i" * 16,)))
    pair.to_broker()
    ended = tuple(SHORT_VIEW._replace(token=n, result=PAYLOAD) for n in range(4))

    pair.broker.send_reply(1, Watching(ended, (b"u" * 16,)))

    reply, *pushes = pair.to_peer()
    assert isinstance(reply, ReplyReceived) and isinstance(reply.reply, Watching)
    assert reply.reply.unknown == (b"u" * 16,)
    assert [*reply.reply.ended, *rows_of(pushes)] == list(ended)


def test_page_too_large_for_a_frame_becomes_an_error_that_says_so() -> None:
    pair = open_pair()
    pair.peer.send_request(ListTasks())
    pair.to_broker()
    tasks = tuple(SHORT_VIEW._replace(result=PAYLOAD) for _ in range(4))

    pair.broker.send_reply(1, TaskPage(tasks, 4, 4, 0, 0))

    (event,) = pair.to_peer()
    assert isinstance(event, ReplyReceived) and isinstance(event.reply, BadRequest)
    assert "ask for less" in event.reply.text


def test_view_with_the_largest_of_everything_fits_one_frame() -> None:
    attempts = tuple((n, "w", n, 0, 0, 1, "\U0001f600" * 16_384) for n in range(100))
    view = SHORT_VIEW._replace(result=PAYLOAD, payload=PAYLOAD, attempts=attempts)  # type: ignore[arg-type]
    pair = open_pair()
    pair.peer.send_request(GetTask(view.task_id, with_payload=True))
    pair.to_broker()

    pair.broker.send_reply(1, view)

    (event,) = pair.to_peer()
    assert isinstance(event, ReplyReceived) and isinstance(event.reply, TaskView)
    assert len(event.reply.attempts) == 100


def test_push_that_cannot_be_halved_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError, match="always fits one frame"):
        open_pair().broker.send_push(Draining(1, "r" * 40_000_000))
