"""A small real broker for the clients' tests: the real protocol core on a real socket, tasks in a dict.

It runs on a loop of its own in a thread, so that blocking and async clients meet the same thing. What it does with
the next request of a kind can be planned: answer an error, do it and hang up, hang up without doing it, or hold it.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from enum import Enum
from types import TracebackType
from typing import Self

from lab.ports import ReservedPort
from tq import verbs
from tq.errors import InvalidStatus, TaskNotFound, TqError, Unsupported, WorkerNotFound
from tq.protocol.connection import Connection, Role
from tq.protocol.events import CloseReceived, Failed, HelloReceived, RequestReceived
from tq.task import CANCELLED, COMPLETED, PENDING, TaskSpec, TaskView

WAIT_SECONDS = 60.0
"""Far longer than anything here takes, on any machine; a test that reaches it has failed."""


class Fault(Enum):
    """What may happen to a request instead of an answer."""

    CUT_BEFORE = "the connection goes, nothing was done"
    CUT_AFTER = "it was done, the connection goes"
    HOLD = "it is not answered before `answer_held`"


Plan = Fault | TqError


class FakeBroker:
    """`with FakeBroker() as broker: Client(broker.address)`."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.tasks: dict[bytes, TaskView] = {}
        self.order: list[bytes] = []
        self.requests: list[verbs.Request] = []
        self.chunks: list[int] = []
        """How many requests each read brought: what the client wrote at once."""
        self.hellos: list[HelloReceived] = []
        self.refuse_hello: TqError | None = None
        self.silent_after: int | None = None
        """After so many hellos none is answered."""
        self.peers: set[_Peer] = set()
        self.held: list[tuple[_Peer, int, verbs.Request]] = []
        self.paused: dict[str, str] = {}
        self._plans: dict[type[verbs.Request], deque[Plan | None]] = defaultdict(deque)
        self._changed = threading.Condition()
        self._port = ReservedPort()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-broker")
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port.number}"

    def __enter__(self) -> Self:
        self._thread.start()
        self.listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_SECONDS)
        self._loop.run_until_complete(self._finish_accepting())
        self._loop.close()
        self._port.close()

    async def _finish_accepting(self) -> None:
        """Connections that were being accepted when the server closed have their sockets still."""
        accepting = asyncio.all_tasks() - {asyncio.current_task()}
        if accepting:
            await asyncio.wait(accepting)
        while self.peers:
            for peer in self.peers:
                peer.cut()
            await asyncio.sleep(0)  # noqa: ASYNC110  the loop runs for nothing but this

    def listen(self) -> None:
        """Take connections, on the same port as before."""

        async def start() -> None:
            self._server = await self._loop.create_server(
                lambda: _Peer(self), "127.0.0.1", self._port.number, ssl=self._tls
            )

        asyncio.run_coroutine_threadsafe(start(), self._loop).result(WAIT_SECONDS)

    def stop(self) -> None:
        """Take no more connections and cut those there are."""

        def end() -> None:
            if self._server is not None:
                self._server.close()
            for peer in tuple(self.peers):
                peer.cut()

        self._do(end)
        self.wait_until(lambda: not self.peers)

    def plan(self, kind: type[verbs.Request], *faults: Plan | None) -> None:
        """What happens to the next requests of this kind, one each; None = it is done and answered."""
        self._plans[kind].extend(faults)

    def cut(self) -> None:
        """Drop every connection now."""

        def act() -> None:
            for peer in tuple(self.peers):
                peer.cut()

        self._do(act)

    def answer_held(self) -> None:
        """Answer what was held, now."""

        def act() -> None:
            for peer, request_id, request in self.held:
                peer.answer(request_id, request)

        self._do(act)

    def push(self, push: verbs.Push) -> None:
        """Push to everybody connected."""

        def act() -> None:
            for peer in tuple(self.peers):
                peer.push(push)

        self._do(act)

    def finish(
        self, task_id: bytes, state: int = COMPLETED, result: bytes | None = b"", error: str = ""
    ) -> None:
        """End a task and tell those who watch it."""

        def end() -> None:
            view = self.tasks[task_id]._replace(state=state, result=result, error=error, state_reason="test")
            self.tasks[task_id] = view
            for peer in self.peers:
                if task_id in peer.watched:
                    peer.push(verbs.TaskEnded((view,)))

        self._do(end)

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Until the condition holds; looked at after every request and connection. Fails after WAIT_SECONDS."""
        with self._changed:
            assert self._changed.wait_for(condition, WAIT_SECONDS), "the condition did not come about in time"

    def count(self, kind: type[verbs.Request]) -> int:
        return sum(isinstance(request, kind) for request in self.requests)

    def changed(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def planned(self, request: verbs.Request) -> Plan | None:
        plans = self._plans[type(request)]
        return plans.popleft() if plans else None

    def _do(self, action: Callable[[], object]) -> None:
        async def run() -> None:
            action()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(WAIT_SECONDS)

    # ------------------------------------------------------------ the verbs

    def answer(self, request: verbs.Request, watched: set[bytes]) -> verbs.Reply | TqError:
        match request:
            case verbs.Submit(tasks):
                return self._submit(tasks)
            case verbs.GetTask(task_id):
                return self.tasks.get(task_id) or TaskNotFound()
            case verbs.Watch(task_ids):
                watched.update(task_ids)
                known = [self.tasks[task_id] for task_id in task_ids if task_id in self.tasks]
                ended = tuple(view for view in known if view.has_ended)
                return verbs.Watching(ended, tuple(each for each in task_ids if each not in self.tasks))
            case verbs.Cancel(task_id):
                return self._move(task_id, PENDING, CANCELLED)
            case verbs.Retry(task_id):
                return self._move(task_id, CANCELLED, PENDING)
            case verbs.ListTasks(limit=limit):
                views = tuple(self.tasks[task_id] for task_id in reversed(self.order))
                return verbs.TaskPage(views[:limit], len(views), limit, 0, 0)
            case verbs.Purge(limit=limit):
                return self._purge(limit)
            case verbs.PauseQueue(queue, reason):
                self.paused[queue] = reason
                return verbs.Done()
            case verbs.ResumeQueue(queue):
                self.paused.pop(queue, None)
                return verbs.Done()
            case verbs.DrainWorker(worker):
                return verbs.Drained((b"s" * 16,)) if worker == "w1" else WorkerNotFound()
            case verbs.GetHealth():
                return verbs.Health("healthy", True, self.address, 0, len(self.tasks), "strict")
            case verbs.GetStats():
                return verbs.Stats(len(self.tasks), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ())
            case verbs.ListWorkers():
                return verbs.Workers(())
            case verbs.GetCluster():
                return verbs.Cluster((), self.address)
            case verbs.Backup(directory):
                return verbs.BackedUp(directory, 1, 2, 3)
            case verbs.Ping():
                return verbs.Done()
        return Unsupported()

    def _submit(self, tasks: tuple[TaskSpec, ...]) -> verbs.Submitted:
        existing = []
        for position, spec in enumerate(tasks):
            if spec.task_id in self.tasks:
                existing.append(verbs.Existing(position, spec.task_id, 1))
                continue
            holder = next(
                (i for i, v in self.tasks.items() if spec.unique_key and v.unique_key == spec.unique_key),
                None,
            )
            if holder is not None:
                existing.append(verbs.Existing(position, holder, 1))
                continue
            self.order.append(spec.task_id)
            self.tasks[spec.task_id] = TaskView(
                spec.task_id, spec.task_type, spec.queue, PENDING, "", spec.priority, 1, 1, spec.schedule_at_ms,
                spec.timeout_ms, spec.max_retries, 0, "", unique_key=spec.unique_key,
            )  # fmt: skip
        return verbs.Submitted(1, bytes([PENDING]) * len(tasks), tuple(existing))

    def _move(self, task_id: bytes, before: int, after: int) -> verbs.TaskRef | TqError:
        view = self.tasks.get(task_id)
        if view is None:
            return TaskNotFound()
        if view.state != before:
            return InvalidStatus(f"it is {view.status}")
        self.tasks[task_id] = view._replace(state=after)
        return verbs.TaskRef(task_id, after)

    def _purge(self, limit: int) -> verbs.Purged:
        gone = self.order[:limit]
        self.order = self.order[limit:]
        for task_id in gone:
            del self.tasks[task_id]
        return verbs.Purged(len(gone), bool(self.order))


class _Peer(asyncio.Protocol):
    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker
        self._connection = Connection(Role.BROKER)
        self._transport: asyncio.Transport | None = None
        self.watched: set[bytes] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._broker.peers.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._broker.peers.discard(self)
        self._broker.changed()

    def data_received(self, data: bytes) -> None:
        count = 0
        for event in self._connection.receive(data):
            if isinstance(event, HelloReceived):
                self._greet(event)
            elif isinstance(event, RequestReceived):
                count += 1
                if not self._handle(event.request_id, event.request):
                    break
            elif isinstance(event, (CloseReceived, Failed)):
                self._flush()
                self.cut()
        if count:
            self._broker.chunks.append(count)
        self._flush()
        self._broker.changed()

    def push(self, push: verbs.Push) -> None:
        self._connection.send_push(push)
        self._flush()

    def answer(self, request_id: int, request: verbs.Request) -> None:
        self._connection.send_reply(request_id, self._broker.answer(request, self.watched))
        self._flush()

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _greet(self, hello: HelloReceived) -> None:
        self._broker.hellos.append(hello)
        if self._broker.silent_after is not None and len(self._broker.hellos) > self._broker.silent_after:
            return
        if self._broker.refuse_hello is None:
            self._connection.accept_hello("node1")
        else:
            self._connection.refuse_hello(self._broker.refuse_hello)

    def _handle(self, request_id: int, request: verbs.Request) -> bool:
        broker = self._broker
        broker.requests.append(request)
        plan = broker.planned(request)
        if plan is Fault.HOLD:
            broker.held.append((self, request_id, request))
            return True
        if isinstance(plan, TqError):
            self._connection.send_reply(request_id, plan)
            return True
        if plan is Fault.CUT_BEFORE:
            self.cut()
            return False
        reply = broker.answer(request, self.watched)
        if plan is Fault.CUT_AFTER:
            self.cut()
            return False
        self._connection.send_reply(request_id, reply)
        return True

    def _flush(self) -> None:
        data = self._connection.data_to_send()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
        if self._connection.is_closed and self._transport is not None:
            self._transport.close()
