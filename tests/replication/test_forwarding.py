"""Where a request goes at a node that does not lead, and whether it goes again: without processes or sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from tests.engine.harness import FakePeer, begun
from tests.replication.live import until
from tq.broker.backend import Answer, Capabilities, Peer
from tq.broker.clustering.forwarding import Forwarding
from tq.broker.clustering.links import Links
from tq.errors import (
    BrokerUnavailable,
    NotLeader,
    OutcomeUnknown,
    PermissionDenied,
    QueueFull,
    TqError,
)
from tq.ids import new_id
from tq.protocol.connection import Connection, Role
from tq.protocol.events import HelloReceived, RequestReceived
from tq.task import COMPLETED, TaskSpec, TaskView
from tq.verbs import (
    Cancel,
    Cluster,
    Deliver,
    Done,
    GetHealth,
    GetTask,
    Health,
    Register,
    Registered,
    Reply,
    Request,
    Settle,
    Settled,
    SettleItem,
    Submit,
    Submitted,
    TaskEnded,
    Watch,
    Watching,
)

PATIENCE_S = 2.0
SUBMIT = Submit((TaskSpec(new_id(), "t"),))
SUBMITTED = Submitted(1, b"\x03")
HEALTH = Health("healthy", False, "", 0, 0, "strict")


class Leader:
    """A node at the other end of visits: answers by a script, one list of answers per verb, the last one for ever."""

    def __init__(self) -> None:
        self.script: dict[type[Request], list[Reply | TqError | None]] = {}
        self.asked: list[Request] = []
        self.visits: list[Visit] = []

    def answer(self, request: Request) -> Reply | TqError | None:
        """None: hang up instead."""
        self.asked.append(request)
        answers = self.script[type(request)]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def push(self, push: TaskEnded | Deliver) -> None:
        for visit in self.visits:
            visit.core.send_push(push)
            visit.flush()


class Visit(asyncio.Transport):
    """The leader's end of a link, which takes this for its transport."""

    def __init__(self, leader: Leader, visitor: asyncio.Protocol) -> None:
        super().__init__()
        self.leader, self.visitor = leader, visitor
        self.core = Connection(Role.BROKER)
        self.is_over = self.is_gone = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.is_gone:
            raise RuntimeError("unable to perform operation; the handler is closed")  # as uvloop does
        for event in self.core.receive(bytes(data)):
            if isinstance(event, HelloReceived):
                self.core.accept_hello("leader")
            elif isinstance(event, RequestReceived):
                reply = self.leader.answer(event.request)
                if reply is None:
                    self.abort()
                    return
                self.core.send_reply(event.request_id, reply)
        self.flush()

    def flush(self) -> None:
        data = self.core.data_to_send()
        if data and not self.is_over:
            asyncio.get_running_loop().call_soon(self._deliver, data)

    def abort(self) -> None:
        if not self.is_over:
            self.is_over = True
            if self in self.leader.visits:
                self.leader.visits.remove(self)
            asyncio.get_running_loop().call_soon(self._lose)

    def _lose(self) -> None:
        self.is_gone = True
        self.visitor.connection_lost(None)

    def _deliver(self, data: bytes) -> None:
        if not self.is_over:
            self.visitor.data_received(data)


class Seat:
    """A node of three. leaders: those that can be visited."""

    node_id = "here"

    def __init__(self) -> None:
        self.leader = "a"
        self.leads = False
        self.leaders = {"a": Leader(), "b": Leader()}
        self.peers = ["a", "b"]

    def not_leader(self) -> NotLeader:
        return NotLeader("no leader")

    async def read_index(self) -> int:
        return 1

    async def visit(self, node: str, visitor: asyncio.Protocol) -> None:
        leader = self.leaders.get(node)
        if leader is None:
            raise BrokerUnavailable(f"{node} cannot be reached")
        visit = Visit(leader, visitor)
        leader.visits.append(visit)
        visitor.connection_made(visit)

    def view(self) -> Cluster:
        return Cluster((), self.leader)

    async def add_node(self, node: str, address: str, *, votes: bool) -> None: ...

    async def remove_node(self, node: str) -> None: ...

    async def transfer(self, target: str = "") -> None: ...


class Own:
    """The node's own backend."""

    capabilities = Capabilities()
    depth = 0

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def new_among(self, tasks: Sequence[TaskSpec]) -> int:
        return len(tasks)

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def disconnected(self, peer: Peer) -> None: ...

    def handle(self, peer: Peer, request: Request, answer: Answer) -> None:
        self.asked.append(request)
        answer(HEALTH if isinstance(request, GetHealth) else Done())


class Bench:
    def __init__(self) -> None:
        self.seat, self.own = Seat(), Own()
        self.links = Links(self.seat)
        loop = asyncio.get_running_loop()
        self.backend = Forwarding(self.own, self.seat, self.links, loop, patience_s=PATIENCE_S)
        self.peer = FakePeer()

    @property
    def a(self) -> Leader:
        return self.seat.leaders["a"]

    @property
    def b(self) -> Leader:
        return self.seat.leaders["b"]

    async def ask(self, request: Request) -> Reply:
        return await asyncio.wait_for(self.begin(request), 60)

    def begin(self, request: Request) -> asyncio.Future[Reply]:
        return begun(self.backend, self.peer, request)


def on_bench(test: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        bench = Bench()
        try:
            await test(bench)
        finally:
            await bench.backend.stop()

    asyncio.run(run())


def test_request_goes_to_the_leader_and_what_is_about_this_node_stays() -> None:
    async def test(bench: Bench) -> None:
        bench.a.script = {Submit: [SUBMITTED]}
        assert await bench.ask(SUBMIT) == SUBMITTED
        assert await bench.ask(GetHealth()) == HEALTH
        assert await bench.ask(GetTask(new_id(), consistency=0)) == Done()
        assert (len(bench.a.asked), len(bench.own.asked)) == (1, 2)
        bench.seat.leads, bench.seat.leader = True, "here"
        assert await bench.ask(SUBMIT) == Done()
        assert len(bench.a.asked) == 1

    on_bench(test)


@pytest.mark.parametrize(
    "first",
    [NotLeader("not me"), BrokerUnavailable("handing over"), None],
    ids=["not leader", "unavailable", "lost on the way"],
)
def test_submit_is_sent_again_with_the_same_ids_until_a_leader_takes_it(first: TqError | None) -> None:
    async def test(bench: Bench) -> None:
        bench.a.script = {Submit: [first, SUBMITTED]}
        assert await bench.ask(SUBMIT) == SUBMITTED
        assert bench.a.asked == [SUBMIT, SUBMIT]

    on_bench(test)


@pytest.mark.parametrize(
    "refusal", [QueueFull("full"), PermissionDenied("no"), OutcomeUnknown("lost")], ids=lambda each: each.code
)
def test_answers_of_the_leader_are_passed_on_as_they_are(refusal: TqError) -> None:
    async def test(bench: Bench) -> None:
        bench.a.script = {Cancel: [refusal]}
        with pytest.raises(type(refusal), match=refusal.text):
            await bench.ask(Cancel(new_id()))
        assert len(bench.a.asked) == 1

    on_bench(test)


def test_link_that_is_lost_in_the_turn_of_a_request_writes_no_more() -> None:
    """What escapes a turn of the loop ends the broker, and the leader's death takes links in any turn."""

    async def test(bench: Bench) -> None:
        escaped: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: escaped.append(context["message"]))
        bench.a.script = {Submit: [SUBMITTED]}
        await bench.ask(SUBMIT)
        bench.a.visits[0].abort()
        waiting = bench.begin(Cancel(new_id()))
        with pytest.raises(OutcomeUnknown):
            await asyncio.wait_for(waiting, 60)
        assert escaped == []

    on_bench(test)


def test_what_must_not_happen_twice_is_unknown_when_its_answer_is_lost() -> None:
    async def test(bench: Bench) -> None:
        bench.a.script = {Cancel: [None, Done()]}
        with pytest.raises(OutcomeUnknown):
            await bench.ask(Cancel(new_id()))
        assert len(bench.a.asked) == 1

    on_bench(test)


def test_request_waits_for_a_leader_and_is_unavailable_when_none_comes() -> None:
    async def test(bench: Bench) -> None:
        bench.seat.leader = ""
        waiting = bench.begin(SUBMIT)
        bench.b.script = {Submit: [SUBMITTED]}
        asyncio.get_running_loop().call_later(0.02, setattr, bench.seat, "leader", "b")
        assert await asyncio.wait_for(waiting, 60) == SUBMITTED
        bench.seat.leader = "nobody that can be reached"
        with pytest.raises(BrokerUnavailable):
            await bench.ask(SUBMIT)

    on_bench(test)


def test_leader_that_hangs_is_left_for_the_next_one() -> None:
    async def test(bench: Bench) -> None:
        bench.b.script = {Submit: [SUBMITTED]}

        async def hang(node: str, visitor: asyncio.Protocol) -> None:
            if node == "b":
                await Seat.visit(bench.seat, node, visitor)

        bench.seat.visit = hang  # type: ignore[method-assign]
        waiting = bench.begin(SUBMIT)
        bench.seat.leader = "b"
        bench.backend.leader_changed("b")
        assert await asyncio.wait_for(waiting, 60) == SUBMITTED

    on_bench(test)


def test_worker_has_a_link_of_its_own_and_is_let_go_when_it_ends() -> None:
    async def test(bench: Bench) -> None:
        bench.a.script = {Register: [Registered((), 5_000)], Settle: [Settled(b"\0"), None]}
        register = Register(new_id(), "w", ("default",), ("t",), 1)
        settle = Settle((SettleItem(new_id(), 1),))
        assert await bench.ask(register) == Registered((), 5_000)
        bench.a.push(Deliver(()))
        assert isinstance(await bench.peer.next(), Deliver)
        assert await bench.ask(settle) == Settled(b"\0")
        with pytest.raises(OutcomeUnknown):
            await bench.ask(settle)
        assert [type(error) for error in bench.peer.dismissals] == [NotLeader]
        bench.backend.disconnected(bench.peer)

    on_bench(test)


def test_wait_for_a_task_follows_the_leader() -> None:
    async def test(bench: Bench) -> None:
        task_id = new_id()
        bench.a.script = bench.b.script = {Watch: [Watching()]}
        assert await bench.ask(Watch((task_id,))) == Watching()
        bench.seat.leader = "b"
        for visit in list(bench.a.visits):
            visit.abort()
        await until(lambda: bool(bench.b.asked))
        view = TaskView(task_id, "t", "default", COMPLETED, "", *[0] * 7, "")
        bench.b.push(TaskEnded((view,)))
        pushed = await bench.peer.next()
        assert isinstance(pushed, TaskEnded)
        assert pushed.tasks[0].task_id == task_id

    on_bench(test)
