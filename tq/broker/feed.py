"""The feed: what happens to tasks and workers, for those who listen, in numbered events.

Rules of the file:
- Everything runs on the event loop; nobody waits for anybody. A listener that does not keep up is marked and hears no
  more, the broker and the others notice nothing.
- While nobody listens nothing is made: whoever publishes asks `is_wanted` once per entry. So the feed falls silent, and
  that shows: `since` a number from before the silence gives `Subscription.missed`.
- Listeners of single tasks keep nobody busy with the others: whoever publishes asks for `watched`, and makes events of
  these only. Such events are not kept for later. Nor are those for listeners who leave tasks out, as dashboards do:
  with only these, no event of a task is made.
- Numbers are consecutive while the feed is heard and jump over a silence. Started at the wall clock in microseconds
  they also rise from one start of the broker to the next, and stay below 2**53, which JSON readers need.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice
from typing import Literal, NamedTuple, TypeAlias

from tq import ids

EVENTS_MAX = 10_000
"""Events kept for those who come back, and the most that wait for one listener: seconds at full load, a few MB."""
LINGER_MS = 60_000
"""The feed goes on so long after its last listener left, who may be back in a moment and ask for what it missed."""

EventType: TypeAlias = Literal["task_update", "worker_update", "stats"]
Fields: TypeAlias = Mapping[str, object]


class FeedEvent(NamedTuple):
    """One thing that happened. at_ms: wall time. fields: plain JSON values under their REST names; never changed.

    task_update: task_id, task_type, queue, status, worker_id, attempt, error. What happened to a task within one
        entry is one event, with the last status.
    worker_update: worker_id, session_id, change (registered, disconnected, capacity, draining, gone, lost), status,
        capacity, host, pid.
    stats: as in the REST interface.
    """

    seq: int
    at_ms: int
    type: EventType
    fields: Fields


Wanted: TypeAlias = Callable[[FeedEvent], bool]


class Subscription:
    """One listener's place in the feed. Made by `Feed.subscribe`; to be closed by whoever asked for it."""

    def __init__(
        self,
        feed: Feed,
        wanted: Wanted | None,
        task_id: str | None,
        on_ready: Callable[[], None],
        capacity: int,
        *,
        leaves_tasks_out: bool = False,
    ) -> None:
        self._feed = feed
        self.leaves_tasks_out = leaves_tasks_out
        self._wanted = wanted
        self._on_ready = on_ready
        self._capacity = capacity
        self._waiting: deque[FeedEvent] = deque()
        self._is_closed = False
        self.task_id = task_id
        self.is_lagged = False
        """It fell more than the feed's capacity behind and gets no more: drop the listener, and say why."""
        self.missed = False
        """What came right after `since` is not kept any more, so there is a gap before the first event."""

    def take(self, max_events: int) -> list[FeedEvent]:
        """The next events, at most so many, oldest first; empty when there are none."""
        waiting = self._waiting
        return [waiting.popleft() for _ in range(min(max_events, len(waiting)))]

    def take_over(self, before: Subscription) -> None:
        """Go on with what another one has not taken yet; first thing after it was made."""
        self._waiting.extendleft(reversed(before._waiting))
        self.is_lagged = before.is_lagged

    def close(self) -> None:
        """Hear no more. Calling it twice is allowed."""
        self._is_closed = True
        self._waiting.clear()
        self._feed._leave(self)

    def _offer(self, event: FeedEvent) -> None:
        if self.is_lagged or self._is_closed or (self._wanted is not None and not self._wanted(event)):
            return
        waiting = self._waiting
        if len(waiting) >= self._capacity:
            self.is_lagged = True
            waiting.clear()
            self._on_ready()
            return
        waiting.append(event)
        if len(waiting) == 1:
            self._on_ready()


class Feed:
    """Keeps the latest events and passes each to those who want it."""

    def __init__(self, capacity: int = EVENTS_MAX, *, first_seq: int = 1) -> None:
        """capacity: events kept for `since`, and the most that may wait for one listener."""
        self._capacity = capacity
        self._ring: deque[FeedEvent] = deque(maxlen=capacity)
        self._next_seq = first_seq
        self._of_all: dict[Subscription, None] = {}
        self._of_task: dict[str, dict[Subscription, None]] = {}
        self._of_rest: dict[Subscription, None] = {}
        self._watched: dict[bytes, None] = {}
        # None: nobody listens to everything and nothing is kept. Else the time up to which it is kept without a
        # listener, 0 = there is one, or it has just left and nothing has happened since.
        self._linger_until_ms: int | None = None
        self._has_skipped = False

    @property
    def last_seq(self) -> int:
        """The number of the latest event: what a listener that begins now can ask for later as `since`."""
        return self._next_seq - 1

    @property
    def has_listeners(self) -> bool:
        """Listeners of single tasks too."""
        return bool(self._of_all or self._of_task or self._of_rest)

    @property
    def is_followed(self) -> bool:
        """Somebody listens to more than a task."""
        return bool(self._of_all or self._of_rest)

    @property
    def watched(self) -> Collection[bytes]:
        """Ids of the tasks that have listeners of their own."""
        return self._watched.keys()

    def is_wanted(self, now_ms: int) -> bool:
        """Whether every event is to be made, those of tasks too. To be asked whenever something happened, before anything is built.

        now_ms: wall time, the same clock as the events' at_ms.
        """
        if self._of_all:
            return True
        if self._linger_until_ms is None:
            return False
        if not self._linger_until_ms:
            self._linger_until_ms = now_ms + LINGER_MS
        if now_ms < self._linger_until_ms:
            return True
        self._fall_silent()
        return False

    def publish(self, at_ms: int, kind: EventType, batch: Iterable[Fields]) -> None:
        """Number the events of one moment and pass them on. Unless `is_wanted`, those of watched tasks only, and those
        that are of no task."""
        is_kept = self._linger_until_ms is not None
        of_rest = () if kind == "task_update" else tuple(self._of_rest)
        if not is_kept and not self._of_task and not of_rest:
            return
        # Copies: a listener that is told it may take, or that it lagged, may close on the spot.
        of_all, of_task = tuple(self._of_all), self._of_task
        for fields in batch:
            event = FeedEvent(self._next_seq, at_ms, kind, fields)
            self._next_seq += 1
            if is_kept:
                self._ring.append(event)
            for listener in (*of_all, *of_rest):
                listener._offer(event)
            if of_task:
                for listener in tuple(of_task.get(str(fields.get("task_id")), ())):
                    listener._offer(event)
        self._has_skipped |= not is_kept

    def subscribe(
        self,
        wanted: Wanted | None = None,
        *,
        since: int | None = None,
        on_ready: Callable[[], None],
        task_id: str | None = None,
        leaves_tasks_out: bool = False,
    ) -> Subscription:
        """Listen from now on, or to everything after the event numbered `since`, as far as it is kept.

        wanted: asked for each event and true for those to hear; None = all. It must not raise.
        on_ready: called on the loop when there is something to take after there was nothing, and when the
            subscription has lagged; it must be short and must not raise. Not called for what `since` brings: take
            that first.
        task_id: events of this task only, UUID text. Costs nothing for each event of others, where `wanted` would,
            and does not make the feed keep events. leaves_tasks_out: every event but those of tasks, and nothing kept.
        """
        made = Subscription(
            self, wanted, task_id, on_ready, self._capacity, leaves_tasks_out=leaves_tasks_out
        )
        if task_id is None and self._has_skipped:
            self._leave_gap()
        if since is not None:
            self._catch_up(made, since)
        if leaves_tasks_out:
            self._of_rest[made] = None
        elif task_id is None:
            self._linger_until_ms = 0
            self._of_all[made] = None
        else:
            self._of_task.setdefault(task_id, {})[made] = None
            self._watched[ids.from_text(task_id)] = None
        return made

    def _catch_up(self, subscription: Subscription, since: int) -> None:
        first = self._next_seq - len(self._ring)
        subscription.missed = not first - 1 <= since < self._next_seq
        # A number from the future is another broker's: nothing that is kept comes after it.
        skipped = len(self._ring) if since >= self._next_seq else max(since - first + 1, 0)
        wanted, task_id = subscription._wanted, subscription.task_id
        no_tasks = subscription.leaves_tasks_out
        subscription._waiting.extend(
            event
            for event in islice(self._ring, skipped, None)
            if (task_id is None or event.fields.get("task_id") == task_id)
            and not (no_tasks and event.type == "task_update")
            and (wanted is None or wanted(event))
        )

    def _leave(self, subscription: Subscription) -> None:
        self._of_rest.pop(subscription, None)
        if subscription.task_id is None:
            self._of_all.pop(subscription, None)
            return
        siblings = self._of_task.get(subscription.task_id)
        if siblings is not None:
            siblings.pop(subscription, None)
            if not siblings:
                del self._of_task[subscription.task_id]
                del self._watched[ids.from_text(subscription.task_id)]

    def _fall_silent(self) -> None:
        self._linger_until_ms = None
        self._ring.clear()
        self._leave_gap()

    def _leave_gap(self) -> None:
        """A number for what was not heard: whoever asks for what came after the event before it learns of that."""
        self._next_seq += 1
        self._has_skipped = False
