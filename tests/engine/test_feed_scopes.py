"""Listeners who leave tasks out, as dashboards do: they cost nothing for each task."""

from __future__ import annotations

from tests.engine.test_feed import Bell, name
from tq.broker.feed import Feed


def say(feed: Feed, kind: str, **fields: object) -> None:
    feed.publish(0, kind, [fields])  # type: ignore[arg-type]


def test_with_only_such_listeners_no_event_of_a_task_is_wanted_and_the_others_are_heard() -> None:
    feed, bell = Feed(10), Bell()
    listener = feed.subscribe(on_ready=bell, leaves_tasks_out=True)

    assert not feed.is_wanted(0)
    assert feed.is_followed and feed.has_listeners
    say(feed, "stats", pending_count=1)
    say(feed, "worker_update", worker_id="w")

    assert [event.type for event in listener.take(10)] == ["stats", "worker_update"]
    assert bell.rings == 1


def test_beside_a_listener_of_everything_they_still_hear_of_no_task() -> None:
    feed = Feed(10)
    listener = feed.subscribe(on_ready=Bell(), leaves_tasks_out=True)
    everything = feed.subscribe(on_ready=Bell())

    say(feed, "task_update", task_id=name(1))
    say(feed, "stats")

    assert [event.type for event in listener.take(10)] == ["stats"]
    assert len(everything.take(10)) == 2
    late = feed.subscribe(on_ready=Bell(), leaves_tasks_out=True, since=0)
    assert [event.type for event in late.take(10)] == ["stats"]


def test_what_only_they_heard_is_a_gap_for_one_who_asks_for_it_later() -> None:
    feed = Feed(10)
    feed.subscribe(on_ready=Bell(), leaves_tasks_out=True)
    before = feed.last_seq
    say(feed, "stats")

    later = feed.subscribe(on_ready=Bell(), since=before)

    assert later.missed and later.take(10) == []


def test_one_that_closes_hears_no_more() -> None:
    feed = Feed(10)
    listener = feed.subscribe(on_ready=Bell(), leaves_tasks_out=True)
    listener.close()

    say(feed, "stats")

    assert listener.take(10) == [] and not feed.has_listeners


def test_a_subscription_goes_on_with_what_the_one_before_has_not_taken() -> None:
    feed = Feed(10)
    before = feed.subscribe(on_ready=Bell())
    say(feed, "task_update", task_id=name(1))
    after = feed.subscribe(on_ready=Bell(), leaves_tasks_out=True)
    after.take_over(before)
    before.close()
    say(feed, "stats")

    assert [event.type for event in after.take(10)] == ["task_update", "stats"]
