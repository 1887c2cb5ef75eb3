"""Messages of the event stream are written once for all who listen, and few of them are kept."""

from __future__ import annotations

import json

from tq.broker.api.rest.event_texts import EventTexts
from tq.broker.feed import FeedEvent


def event(seq: int, **fields: object) -> FeedEvent:
    return FeedEvent(seq, 1_000, "stats", {"pending_count": seq, **fields})


def test_an_event_is_written_once_however_many_listen() -> None:
    texts = EventTexts()
    first, second = event(1), event(2)

    # As two listeners take them who each take both.
    told = [[texts.of(first), texts.of(second)] for _ in range(2)]

    assert told[0][0] is told[1][0]
    assert told[0][1] is told[1][1]
    assert json.loads(told[0][1]) == {
        "type": "stats",
        "seq": 2,
        "at": "1970-01-01T00:00:01.000Z",
        "pending_count": 2,
    }


def test_messages_are_kept_up_to_a_bound_the_oldest_go_first() -> None:
    one = len(EventTexts().of(event(1)))
    texts = EventTexts(chars_max=2 * one)
    told = [texts.of(event(seq)) for seq in (1, 2, 3)]

    assert texts.of(event(3)) is told[2]
    assert texts.of(event(2)) is told[1]
    again = texts.of(event(1))
    assert again == told[0]
    assert again is not told[0]


def test_a_message_above_the_bound_is_sent_and_not_kept() -> None:
    texts = EventTexts(chars_max=10)

    assert json.loads(texts.of(event(1, queues=["ü" * 50])))["queues"] == ["ü" * 50]
    assert texts.of(event(1)) is not texts.of(event(1))
