"""The feed: what listeners of tasks and workers are told, and what becomes of those who do not keep up."""

from __future__ import annotations

import random

import pytest

from tests.engine.harness import FEED_EVENTS, Engine, FakePeer, spec, with_engine
from tq.broker.feed import LINGER_MS, Feed, FeedEvent, Subscription
from tq.ids import to_text
from tq.task import Cause
from tq.verbs import Cancel, Deregister, Extend, SetCapacity, Settle, SettleItem, Submit


def publish(feed: Feed, *numbers: int) -> None:
    if feed.is_wanted(0):
        feed.publish(0, "task_update", [{"task_id": name(number)} for number in numbers])
    elif feed.watched:
        watched = [number for number in numbers if number.to_bytes(16) in feed.watched]
        feed.publish(0, "task_update", [{"task_id": name(number)} for number in watched])


def name(number: int) -> str:
    return to_text(number.to_bytes(16))


def number_of(event: FeedEvent) -> int:
    return int(str(event.fields["task_id"]).replace("-", ""), 16)


def told(subscription: Subscription, most: int = 1_000) -> list[int]:
    return [number_of(event) for event in subscription.take(most)]


class Bell:
    def __init__(self) -> None:
        self.rings = 0

    def __call__(self) -> None:
        self.rings += 1


def test_events_are_numbered_one_after_the_other_and_come_in_order() -> None:
    feed = Feed(10)
    listener = feed.subscribe(on_ready=Bell())

    publish(feed, 1, 2)
    publish(feed, 3)

    assert [(event.seq, number_of(event)) for event in listener.take(10)] == [(1, 1), (2, 2), (3, 3)]
    assert feed.last_seq == 3


def test_a_listener_is_called_once_for_what_it_has_not_taken_yet() -> None:
    feed, bell = Feed(10), Bell()
    listener = feed.subscribe(on_ready=bell)

    publish(feed, 1, 2)
    publish(feed, 3)
    assert bell.rings == 1
    assert told(listener, 2) == [1, 2]
    publish(feed, 4)
    assert bell.rings == 1
    assert told(listener) == [3, 4]
    publish(feed, 5)
    assert bell.rings == 2


def test_a_listener_hears_only_what_it_wants() -> None:
    feed = Feed(10)
    even = feed.subscribe(lambda event: number_of(event) % 2 == 0, on_ready=Bell())
    one = feed.subscribe(task_id=name(3), on_ready=Bell())

    publish(feed, 1, 2, 3, 4)

    assert told(even) == [2, 4]
    assert told(one) == [3]


def test_a_listener_that_comes_back_hears_what_it_missed() -> None:
    feed = Feed(10)
    listener = feed.subscribe(on_ready=Bell())
    publish(feed, 1, 2, 3)
    listener.close()
    publish(feed, 4)

    again = feed.subscribe(on_ready=Bell(), since=2)
    even = feed.subscribe(lambda event: number_of(event) % 2 == 0, on_ready=Bell(), since=0)
    one = feed.subscribe(task_id=name(4), on_ready=Bell(), since=1)
    publish(feed, 5)

    assert (told(again), again.missed) == ([3, 4, 5], False)
    assert (told(even), even.missed) == ([2, 4], False)
    assert (told(one), one.missed) == ([4], False)


@pytest.mark.parametrize(("since", "missed"), [(0, True), (6, True), (7, False), (10, False), (11, True)])
def test_a_number_that_is_not_kept_any_more_is_said_to_be_missed(since: int, missed: bool) -> None:
    feed = Feed(3)
    feed.subscribe(on_ready=Bell())
    publish(feed, *range(1, 11))

    late = feed.subscribe(on_ready=Bell(), since=since)

    assert late.missed is missed
    expected = [] if since >= 10 else list(range(max(since + 1, 8), 11))
    assert told(late) == expected


def test_a_listener_that_falls_behind_is_dropped_and_the_others_are_not() -> None:
    feed, bell = Feed(3), Bell()
    slow = feed.subscribe(on_ready=bell)
    quick = feed.subscribe(on_ready=Bell())

    publish(feed, 1, 2, 3)
    assert not slow.is_lagged
    assert told(quick) == [1, 2, 3]
    publish(feed, 4)
    publish(feed, 5)

    assert slow.is_lagged
    assert slow.take(10) == []
    assert bell.rings == 2
    assert told(quick) == [4, 5]


def test_nothing_is_made_or_kept_while_nobody_listens() -> None:
    feed = Feed(10)

    assert not feed.is_wanted(0)
    feed.publish(0, "stats", [{}])

    assert feed.last_seq == 0


def test_the_feed_goes_on_for_a_while_after_its_last_listener_and_then_shows_the_gap() -> None:
    feed = Feed(10)
    first = feed.subscribe(on_ready=Bell())
    publish(feed, 1)
    first.close()
    first.close()

    assert not feed.has_listeners
    assert feed.is_wanted(1_000)
    assert feed.is_wanted(1_000 + LINGER_MS - 1)
    assert not feed.is_wanted(1_000 + LINGER_MS)
    late = feed.subscribe(on_ready=Bell(), since=1)

    assert late.missed
    publish(feed, 2)
    assert [event.seq for event in late.take(10)] == [3]


def test_a_listener_may_close_when_it_is_called() -> None:
    feed = Feed(10)
    listeners: list[Subscription] = []
    for _ in range(2):
        listeners.append(feed.subscribe(on_ready=lambda: [each.close() for each in listeners]))

    publish(feed, 1, 2)

    assert [each.take(10) for each in listeners] == [[], []]


def test_who_listens_to_one_task_hears_of_it_and_makes_nobody_tell_of_others() -> None:
    feed = Feed(10)
    listener = feed.subscribe(task_id=name(3), on_ready=Bell())

    assert not feed.is_wanted(0)
    assert list(feed.watched) == [(3).to_bytes(16)]
    publish(feed, 1, 2, 3)
    assert told(listener) == [3]
    listener.close()
    assert list(feed.watched) == []


def test_what_only_listeners_of_single_tasks_heard_is_a_gap_for_others() -> None:
    feed = Feed(10)
    listener = feed.subscribe(task_id=name(3), on_ready=Bell())
    publish(feed, 3)
    [event] = listener.take(10)

    late = feed.subscribe(since=event.seq, on_ready=Bell())
    assert late.missed
    publish(feed, 3, 4)
    assert told(late) == [3, 4]
    assert told(listener) == [3]


# ---------------------------------------------------------------- what the engine tells


def updates(subscription: Subscription) -> list[tuple[object, ...]]:
    return [
        tuple(event.fields[name] for name in ("task_id", "status", "worker_id", "attempt", "error"))
        for event in subscription.take(1_000)
        if event.type == "task_update"
    ]


def changes(subscription: Subscription) -> list[tuple[object, ...]]:
    return [
        tuple(event.fields[name] for name in ("worker_id", "change", "status", "capacity"))
        for event in subscription.take(1_000)
        if event.type == "worker_update"
    ]


async def settle(engine: Engine, worker: FakePeer, cause: Cause, error: str = "") -> None:
    [delivery] = await worker.delivered(1)
    item = SettleItem(delivery.task_id, delivery.token, int(cause), b"", error)
    await engine.call(Settle((item,)), worker)


def test_a_task_is_told_of_with_each_status_it_comes_to() -> None:
    async def run(engine: Engine) -> None:
        listener = engine.feed.subscribe(on_ready=Bell())
        [task_id] = await engine.submit(spec(max_retries=1))
        name = to_text(task_id)
        worker = await engine.worker()
        await settle(engine, worker, Cause.ERROR, "Traceback\nValueError: no")
        engine.clock.advance(10_000)
        await settle(engine, worker, Cause.DONE)

        assert updates(listener) == [
            (name, "pending", None, 0, None),
            (name, "in_progress", "w1", 1, None),
            (name, "failed", "w1", 1, "Traceback\nValueError: no"),
            (name, "in_progress", "w1", 2, None),
            (name, "completed", "w1", 2, None),
        ]

    with_engine(run)


def test_a_task_that_is_buried_or_cancelled_says_why() -> None:
    async def run(engine: Engine) -> None:
        listener = engine.feed.subscribe(on_ready=Bell())
        [buried] = await engine.submit(spec(max_retries=0))
        worker = await engine.worker()
        await settle(engine, worker, Cause.ERROR, "ValueError: no")
        [cancelled] = await engine.submit(spec("unserved"))
        await engine.call(Cancel(cancelled))

        ends = [update for update in updates(listener) if update[1] in ("dead_letter", "cancelled")]
        assert ends == [
            (to_text(buried), "dead_letter", "w1", 1, "ValueError: no"),
            (to_text(cancelled), "cancelled", None, 0, "cancelled while it waited"),
        ]

    with_engine(run)


def test_a_lease_that_is_extended_is_not_an_event() -> None:
    async def run(engine: Engine) -> None:
        await engine.submit(spec())
        worker = await engine.worker()
        [delivery] = await worker.delivered(1)
        listener = engine.feed.subscribe(on_ready=Bell())
        await engine.call(Extend(((delivery.task_id, delivery.token, 60_000),)), worker)

        assert updates(listener) == []

    with_engine(run)


def test_a_worker_is_told_of_from_its_registration_to_its_end() -> None:
    async def run(engine: Engine) -> None:
        listener = engine.feed.subscribe(on_ready=Bell())
        worker = await engine.worker(capacity=2)
        await engine.call(SetCapacity(3), worker)
        await engine.call(SetCapacity(0), worker)
        await engine.call(Deregister(), worker)
        lost = await engine.worker()
        engine.backend.disconnected(lost)
        await engine.submit(spec("unserved"))
        engine.clock.advance(6_000)
        engine.backend._sweep()

        assert changes(listener) == [
            ("w1", "registered", "active", 2),
            ("w1", "capacity", "active", 3),
            ("w1", "draining", "draining", 0),
            ("w1", "gone", "disconnected", 0),
            ("w1", "registered", "active", 1),
            ("w1", "disconnected", "disconnected", 1),
            ("w1", "lost", "disconnected", 0),
        ]

    with_engine(run)


def test_listeners_get_the_numbers_of_the_whole() -> None:
    async def run(engine: Engine) -> None:
        heard: list[FeedEvent] = []
        engine.backend._tell_stats()
        listener = engine.feed.subscribe(lambda event: event.type == "stats", on_ready=Bell())
        await engine.submit(spec(), spec())
        engine.clock.advance(100_000)
        engine.backend._tell_stats()
        heard = listener.take(10)

        assert [event.fields["pending_count"] for event in heard] == [2]
        # An idle broker applies nothing; its numbers are those of the moment they are told.
        assert heard[0].at_ms >= engine.clock.now_ms()

    with_engine(run)


def test_a_large_batch_marks_the_listener_that_cannot_hold_it_and_is_taken_all_the_same() -> None:
    async def run(engine: Engine) -> None:
        listener = engine.feed.subscribe(on_ready=Bell())
        await engine.call(Submit(tuple(spec() for _ in range(FEED_EVENTS + 1))))

        assert listener.is_lagged

    with_engine(run)


@pytest.mark.parametrize("seed", range(20))
def test_a_listener_that_resumes_gets_each_event_once_or_learns_of_a_gap(seed: int) -> None:
    """A reader that goes and comes back at random, against the list of all that was published."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    feed, capacity = Feed(8), 8
    published: list[FeedEvent] = []
    witness = feed.subscribe(on_ready=Bell())
    reader, last = feed.subscribe(on_ready=Bell()), 0
    for _ in range(400):
        step = rng.randrange(4)
        if step == 0 and reader is not None:
            reader.close()
            reader = None
        elif step == 1 and reader is None:
            reader = feed.subscribe(on_ready=Bell(), since=last)
            oldest = published[-capacity].seq if len(published) > capacity else 1
            assert reader.missed == (last < oldest - 1)
            last = max(last, oldest - 1)
        elif step == 2 and reader is not None:
            if reader.is_lagged:
                reader, last = feed.subscribe(on_ready=Bell()), feed.last_seq
            for event in reader.take(rng.randrange(6)):
                assert event.seq == last + 1
                assert event is published[event.seq - 1]
                last = event.seq
        else:
            publish(feed, *range(rng.randrange(4)))
            published += witness.take(100)


def test_a_listener_of_one_task_is_told_of_that_task_only() -> None:
    async def run(engine: Engine) -> None:
        first, second = await engine.submit(spec(), spec())
        listener = engine.feed.subscribe(task_id=to_text(second), on_ready=Bell())
        worker = await engine.worker(capacity=2)
        await worker.delivered(2)
        await engine.call(Cancel(first, force=True))
        await engine.call(Cancel(second, force=True))
        engine.backend._tell_stats()

        events = listener.take(100)
        assert {event.fields["task_id"] for event in events} == {to_text(second)}
        assert [event.fields["status"] for event in events] == ["in_progress", "cancelled"]

    with_engine(run)
