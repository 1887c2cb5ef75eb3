"""One of everything that travels, as a value and as bytes. Both directions are tested against it.

The bytes are golden: a change of them is a change of the protocol, which released peers would feel.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from tq.errors import NotLeader, TqError
from tq.protocol.events import HelloReceived, Welcomed
from tq.retry import CUSTOM, RetryPolicy
from tq.task import Attempt, Counters, EndedTask, TaskSpec, TaskView
from tq.verbs import (
    REPLY_OF,
    Abort,
    AddNode,
    BackedUp,
    Backup,
    Cancel,
    CancelMany,
    Changed,
    Claim,
    Claimed,
    Cluster,
    DeadLetterGroup,
    DeadLetters,
    Deliver,
    Delivery,
    Deregister,
    Done,
    Drain,
    Drained,
    Draining,
    DrainWorker,
    Existing,
    Extend,
    Failure,
    Failures,
    ForgetMany,
    GetCluster,
    GetHealth,
    GetSeries,
    GetStats,
    GetTask,
    GroupDeadLetters,
    Health,
    Heartbeat,
    Import,
    Latency,
    ListFailures,
    ListQueues,
    ListTasks,
    ListWorkers,
    Member,
    PauseQueue,
    Ping,
    Purge,
    Purged,
    Push,
    Queues,
    QueueStats,
    QueueView,
    Register,
    Registered,
    RemoveNode,
    Reply,
    Request,
    ResumeQueue,
    Retry,
    RetryMany,
    Series,
    SetCapacity,
    Settle,
    Settled,
    SettleItem,
    Stats,
    Submit,
    Submitted,
    TaskEnded,
    TaskPage,
    TaskRef,
    TransferLeadership,
    TypeStats,
    Watch,
    Watching,
    Workers,
    WorkerView,
)

A, B = bytes(range(16)), bytes(range(16, 32))
SESSION = b"s" * 16
FULL_TASK = TaskSpec(
    task_id=B,
    task_type="resize",
    payload=b"\x00\xff",
    queue="images",
    priority=255,
    schedule_at_ms=1_700_000_000_000,
    delay_ms=1,
    timeout_ms=60_000,
    max_retries=0,
    retry=RetryPolicy(CUSTOM, 1_000, 1_500, 60_000, 0, (1_000, 5_000)),
    dependencies=(A,),
    expires_at_ms=253_402_300_799_999,
    unique_key="größe",
    unique_ttl_ms=3_600_000,
    metadata={"tenant": "a"},
)
SHORT_VIEW = TaskView(A, "echo", "default", 3, "waits for a worker", 150, 5, 6, 0, 300_000, 3, 0, "")
FULL_VIEW = TaskView(
    task_id=A,
    task_type="echo",
    queue="default",
    state=6,
    state_reason="completed",
    priority=200,
    created_ms=5,
    updated_ms=9,
    schedule_at_ms=0,
    timeout_ms=300_000,
    max_retries=3,
    retry_count=1,
    worker_id="w1",
    result=b"ok",
    error="",
    attempts=(Attempt(1, "w0", 7, 6, 7, 1, "boom\n at line 3"), Attempt(2, "w1", 9, 8, 9)),
    counters=Counters(1, 0, 0, 0, 0, 0),
    payload=b"in",
    payload_bytes=2,
    started_ms=6,
    ended_ms=9,
    token=9,
    expires_at_ms=10,
    retry=RetryPolicy(1, 100, 2_000, 100, 0),
    dependencies=(B,),
    unique_key="k",
    metadata={"a": "b"},
    progress=(500, "half"),
    result_bytes=2,
)
DELIVERY = Delivery(A, 42, "echo", b"hi", 1, 300_000, "default", 150, 1_700_000_000_000, 3)
QUEUE = QueueStats("mail", 1, 2, 3, 4, 5, 6, 7, True, "deploy", ("resize",), 60, 59)
STATS = Stats(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, (QUEUE,), "strict")
SERIES = Series(
    90_000, 60_000, (-1, 2), (1, 2), (0, 3), (4, 5), (6, 7), (8, 9), Latency(300_000, 4, 120, 10, -1)
)
WORKER = WorkerView("w1", SESSION, "host", 7, "1.0", "active", 4, ("mail",), ("echo",), (A,), 50, 1_000, 8, 9)
MEMBER = Member(
    "n1", "10.0.0.1:7379", "leader", 3, 100, 99, 0, True, True, "10.0.0.1:6379", 7, 101, 5_000, "1.0"
)
ERROR = NotLeader("ask n2", retry_after_ms=250, leader="10.0.0.2:6379")

Value: TypeAlias = Request | Reply | TqError | Push | HelloReceived | Welcomed | None


class Case(NamedTuple):
    """value: what one side says; hex: how. asked: the request a reply or error answers. None = CLOSE in order."""

    value: Value
    hex: str
    asked: Request | None = None

    @property
    def name(self) -> str:
        return type(self.value).__name__ + (f"-to-{type(self.asked).__name__}" if self.asked else "")

    @property
    def data(self) -> bytes:
        return bytes.fromhex(self.hex)

    @property
    def is_request(self) -> bool:
        return type(self.value) in REPLY_OF


# fmt: off
CASES = [
    Case(HelloReceived(1, "worker", "key", "w1", "tq 1"),
         "00000016 10 9501a6776f726b6572a36b6579a27731a474712031"),
    Case(Welcomed(1, "n1", "c1", 16_777_216, 10_485_760, 10_000, 10_000, 15_000),
         "0000001c 11 9801a26e31a26331ce01000000ce00a00000cd2710cd2710cd3a98"),
    Case(None,
         "00000003 12 91a0"),
    Case(ERROR,
         "00000030 12 95aa4e4f545f4c4541444552ab756e617661696c61626c65a661736b206e32ccfaad31302e30"
         "2e302e323a36333739"),
    Case(Submit((TaskSpec(A, "echo"),)),
         "0000001c 01 92019192c410000102030405060708090a0b0c0d0e0fa46563686f"),
    Case(Submit((TaskSpec(A, "echo", b"hi"), FULL_TASK)),
         "000000b3 01 9201929fc410000102030405060708090a0b0c0d0e0fa46563686fc4026869a764656661756c"
         "74cc960000ce000493e003c09000a000809fc410101112131415161718191a1b1c1d1e1fa6726573697a65c4"
         "0200ffa6696d61676573ccffcf0000018bcfe5680001cdea60009603cd03e8cd05dccdea600092cd03e8cd13"
         "8891c410000102030405060708090a0b0c0d0e0fcf0000e677d21fdbffa76772c3b6c39f65ce0036ee8081a6"
         "74656e616e74a161"),
    Case(GetTask(A, 30_000, True, 2, False),
         "0000001b 07 9601c410000102030405060708090a0b0c0d0e0fcd7530c302c2"),
    Case(Watch((A, B)),
         "00000028 19 920192c410000102030405060708090a0b0c0d0e0fc410101112131415161718191a1b1c1d1e"
         "1f"),
    Case(Cancel(A, True),
         "00000016 08 9301c410000102030405060708090a0b0c0d0e0fc3"),
    Case(Retry(A, 5),
         "00000016 1d 9301c410000102030405060708090a0b0c0d0e0f05"),
    Case(ListTasks(7, "echo", "mail", 50, 100, 12, 2, "w1", "00ff", True, False),
         "0000001c 09 9c0107a46563686fa46d61696c32640c02a27731a430306666c3c2"),
    Case(Purge(6, 604_800_000, "mail", "echo", 500),
         "00000016 1e 960106ce240c8400a46d61696ca46563686fcd01f4"),
    Case(PauseQueue("mail", "deploy"),
         "0000000f 1f 9301a46d61696ca66465706c6f79"),
    Case(ResumeQueue("mail"),
         "00000008 20 9201a46d61696c"),
    Case(GetStats(2),
         "00000004 0a 920102"),
    Case(ListWorkers(),
         "00000003 21 9101"),
    Case(GetCluster(True),
         "00000004 22 9201c3"),
    Case(AddNode("n4", "h4:7379", False),
         "0000000f 25 9401a26e34a768343a37333739c2"),
    Case(RemoveNode("n4"),
         "00000006 26 9201a26e34"),
    Case(TransferLeadership("n2"),
         "00000006 27 9201a26e32"),
    Case(GetHealth(),
         "00000003 23 9101"),
    Case(DrainWorker("w1"),
         "00000006 28 9201a27731"),
    Case(GetSeries(),
         "00000003 29 9101"),
    Case(ListQueues(),
         "00000003 2a 9101"),
    Case(ListFailures(20),
         "00000004 2b 920114"),
    Case(GroupDeadLetters("echo", "mail"),
         "0000000d 2c 9301a46563686fa46d61696c"),
    Case(CancelMany((A,), 3, "echo", "mail", 100, 12, True),
         "00000024 2d 980191c410000102030405060708090a0b0c0d0e0f03a46563686fa46d61696c640c"
         "c3"),
    Case(RetryMany((), 7, "echo", "mail", 100, 12, "00ff", 5),
         "00000017 2e 99019007a46563686fa46d61696c640ca43030666605"),
    Case(ForgetMany((), 7, "echo", "mail", 100, 12, "00ff"),
         "00000016 2f 98019007a46563686fa46d61696c640ca430306666"),
    Case(Import((
        EndedTask(A, "echo", 6, b"hi", b"ok", failures=1, worker_id="w1", created_ms=1_700_000_000_000,
                  started_ms=1_700_000_000_500, ended_ms=1_700_000_001_000),
        EndedTask(B, "echo", 7, b"hi", error="boom", max_retries=0, failures=1, metadata={"a": "b"}),
    )),
         "0000009a 31 920192dc0011c410000102030405060708090a0b0c0d0e0fa46563686f06c4026869c4026f6ba0a7"
         "64656661756c74cc96ce000493e003c001a27731cf0000018bcfe56800cf0000018bcfe569f4cf0000018bcfe56b"
         "e880dc0011c410101112131415161718191a1b1c1d1e1fa46563686f07c4026869c400a4626f6f6da76465666175"
         "6c74cc96ce000493e000c001a000000081a161a162"),
    Case(Backup("backups/monday"),
         "00000012 24 9201ae6261636b7570732f6d6f6e646179"),
    Case(Register(SESSION, "w1", ("mail",), ("echo", "resize"), 4, ((A, 42),), 5_000, "host", 7, "1.0"),
         "0000004e 13 9b01c41073737373737373737373737373737373a2773191a46d61696c92a46563686fa67265"
         "73697a65049192c410000102030405060708090a0b0c0d0e0f2acd1388a4686f737407a3312e30"),
    Case(Heartbeat(2, 50, 1_000_000, ((A, 500, "half"),)),
         "00000026 04 95010232ce000f42409193c410000102030405060708090a0b0c0d0e0fcd01f4a468616c66"),
    Case(SetCapacity(0),
         "00000004 14 920100"),
    Case(Claim(5, 30_000),
         "00000007 02 930105cd7530"),
    Case(Settle((SettleItem(A, 42, 0, b"ok"), SettleItem(B, 43, 1, b"", "boom", 5_000))),
         "0000003e 03 92019296c410000102030405060708090a0b0c0d0e0f2a00c4026f6ba0ff96c4101011121314"
         "15161718191a1b1c1d1e1f2b01c400a4626f6f6dcd1388"),
    Case(Extend(((A, 42, 60_000),)),
         "0000001b 15 92019193c410000102030405060708090a0b0c0d0e0f2acdea60"),
    Case(Deregister(),
         "00000003 16 9101"),
    Case(Ping(),
         "00000003 1c 9101"),
    Case(Done(),
         "00000003 05 9101",
         asked=Ping()),
    Case(Submitted(5, b"\x03\x06", (Existing(1, B, 4),)),
         "0000001e 05 940105c4020306919301c410101112131415161718191a1b1c1d1e1f04",
         asked=Submit(())),
    Case(TaskRef(A, 8),
         "00000016 05 9301c410000102030405060708090a0b0c0d0e0f08",
         asked=Cancel(A)),
    Case(SHORT_VIEW,
         "00000043 05 9e01c410000102030405060708090a0b0c0d0e0fa46563686fa764656661756c7403b2776169"
         "747320666f72206120776f726b6572cc96050600ce000493e00300a0",
         asked=GetTask(A)),
    Case(FULL_VIEW,
         "000000a4 05 dc001e01c410000102030405060708090a0b0c0d0e0fa46563686fa764656661756c"
         "7406a9636f6d706c65746564ccc8050900ce000493e00301a27731c4026f6ba0929701a277300706"
         "0701af626f6f6d0a206174206c696e6520339702a2773109080900a096010000000000c402696e02"
         "0609090a960164cd07d064009091c410101112131415161718191a1b1c1d1e1fa16b81a161a16292"
         "cd01f4a468616c6602",
         asked=GetTask(A)),
    Case(Watching((SHORT_VIEW,), (B,)),
         "00000058 05 9301919dc410000102030405060708090a0b0c0d0e0fa46563686fa764656661756c7403b277"
         "6169747320666f72206120776f726b6572cc96050600ce000493e00300a091c410101112131415161718191a"
         "1b1c1d1e1f",
         asked=Watch((A, B))),
    Case(TaskPage((SHORT_VIEW, FULL_VIEW), 2, 100, 0, 77),
         "00000111 05 960192dc001dc410000102030405060708090a0b0c0d0e0fa46563686fa764656661"
         "756c7403b2776169747320666f72206120776f726b6572cc96050600ce000493e00300a0c0a09096"
         "000000000000c0ff000000009600cd1388cd07d0ce0036ee80649090a080c0ffdc001dc410000102"
         "030405060708090a0b0c0d0e0fa46563686fa764656661756c7406a9636f6d706c65746564ccc805"
         "0900ce000493e00301a27731c4026f6ba0929701a2773007060701af626f6f6d0a206174206c696e"
         "6520339702a2773109080900a096010000000000c402696e020609090a960164cd07d064009091c4"
         "10101112131415161718191a1b1c1d1e1fa16b81a161a16292cd01f4a468616c66020264004d",
         asked=ListTasks()),
    Case(Purged(3, False),
         "00000005 05 930103c2",
         asked=Purge(6)),
    Case(STATS,
         "0000003d 05 dc0014010102030405060708090a0b0c0d0e0f1011919da46d61696c010203040506"
         "07c3a66465706c6f7991a6726573697a653c3ba6737472696374",
         asked=GetStats()),
    Case(Workers((WORKER,)),
         "00000051 05 9201919ea27731c41073737373737373737373737373737373a4686f737407a3312e30a66163"
         "746976650491a46d61696c91a46563686f91c410000102030405060708090a0b0c0d0e0f32cd03e80809",
         asked=ListWorkers()),
    Case(Cluster((MEMBER,), "n1"),
         "0000003d 05 9301919ea26e31ad31302e302e302e313a37333739a66c656164657203646300c3c3ad31302e302e"
         "302e313a363337390765cd1388a3312e30a26e31",
         asked=GetCluster()),
    Case(Health("degraded", True, "n1", 2, 3, "relaxed", ("n3 is away",)),
         "00000026 05 9801a86465677261646564c3a26e310203a772656c6178656491aa6e332069732061776179",
         asked=GetHealth()),
    Case(BackedUp("backups/monday", 99, 1_000, 3),
         "00000017 05 9501ae6261636b7570732f6d6f6e64617963cd03e803",
         asked=Backup("backups/monday")),
    Case(Drained((SESSION,)),
         "00000016 05 920191c41073737373737373737373737373737373",
         asked=DrainWorker("w1")),
    Case(SERIES,
         "00000027 05 9a01ce00015f90cdea6092ff0292010292000392040592060792080995ce000493e0"
         "04780aff",
         asked=GetSeries()),
    Case(Queues((QueueView(QUEUE, (TypeStats("echo", 5, 2),)),)),
         "0000002d 05 920191929da46d61696c01020304050607c3a66465706c6f7991a6726573697a653c"
         "3b9193a46563686f0502",
         asked=ListQueues()),
    Case(Failures((Failure(9, A, "echo", "mail", 5, 2, "w1", 1, "boom"),)),
         "0000002d 05 9201919909c410000102030405060708090a0b0c0d0e0fa46563686fa46d61696c05"
         "02a2773101a4626f6f6d",
         asked=ListFailures()),
    Case(DeadLetters((DeadLetterGroup("00ff", "echo", "mail", "boom 1", 4, 5, 9, A),), 7, 4),
         "00000032 05 94019198a430306666a46563686fa46d61696ca6626f6f6d2031040509c410000102"
         "030405060708090a0b0c0d0e0f0704",
         asked=GroupDeadLetters()),
    Case(Changed(3, 1, 12),
         "00000006 05 940103010c",
         asked=CancelMany((A,))),
    Case(Registered(((A, 42),), 5_000),
         "0000001b 05 93019192c410000102030405060708090a0b0c0d0e0f2acd1388",
         asked=Register(SESSION, "w1", ("mail",), ("echo",), 4)),
    Case(Settled(b"\x00\x01"),
         "00000007 05 9201c4020001",
         asked=Settle(())),
    Case(Settled(b"\x00"),
         "00000006 05 9201c40100",
         asked=Extend(())),
    Case(Claimed((DELIVERY,)),
         "0000003b 05 9201919ac410000102030405060708090a0b0c0d0e0f2aa46563686fc402686901ce000493e0"
         "a764656661756c74cc96cf0000018bcfe5680003",
         asked=Claim()),
    Case(ERROR,
         "00000031 06 9601aa4e4f545f4c4541444552ab756e617661696c61626c65a661736b206e32ccfaad31302e"
         "302e302e323a36333739",
         asked=Submit(())),
    Case(Deliver((DELIVERY, DELIVERY._replace(metadata={"a": "b"}))),
         "00000077 17 91929bc410000102030405060708090a0b0c0d0e0f2aa46563686fc402686901ce000493e0a7"
         "64656661756c74cc96cf0000018bcfe5680003809bc410000102030405060708090a0b0c0d0e0f2aa4656368"
         "6fc402686901ce000493e0a764656661756c74cc96cf0000018bcfe568000381a161a162"),
    Case(Abort(((A, 42, "cancelled"),)),
         "00000021 18 919193c410000102030405060708090a0b0c0d0e0f2aa963616e63656c6c6564"),
    Case(TaskEnded((FULL_VIEW,)),
         "000000a5 1a 9191dc001dc410000102030405060708090a0b0c0d0e0fa46563686fa76465666175"
         "6c7406a9636f6d706c65746564ccc8050900ce000493e00301a27731c4026f6ba0929701a2773007"
         "060701af626f6f6d0a206174206c696e6520339702a2773109080900a096010000000000c402696e"
         "020609090a960164cd07d064009091c410101112131415161718191a1b1c1d1e1fa16b81a161a162"
         "92cd01f4a468616c6602"),
    Case(Drain("deploy"),
         "00000009 30 91a66465706c6f79"),
    Case(Draining(1_000, "restart"),
         "0000000d 1b 92cd03e8a772657374617274"),
]
# fmt: on
