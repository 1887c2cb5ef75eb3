"""One client for each door, all with the same methods."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import SimpleNamespace
from typing import Any, Protocol

import grpc
import httpx

from tests.doors.serving import Dialler
from tests.scenarios.said import Fields, Said
from tq import ids
from tq.errors import BadRequest, TqError
from tq.proto import taskqueue_pb2 as pb
from tq.proto.taskqueue_pb2_grpc import TaskQueueStub
from tq.protocol.events import CloseReceived, Welcomed
from tq.task import STATE_OF_STATUS, STATUS_OF_STATE, TaskSpec
from tq.verbs import Cancel, DrainWorker, GetStats, GetTask, ListTasks, Request, Retry, Stats, Submit

MESSAGE_BYTES_MAX = 32 * 1024 * 1024


class Speaker(Protocol):
    """A client of one door, with one key."""

    async def submit(self, task: Fields) -> Said: ...

    async def submit_batch(self, *tasks: Fields) -> Said: ...

    async def get(self, task_id: str) -> Said: ...

    async def cancel(self, task_id: str, *, force: bool = False) -> Said: ...

    async def retry(self, task_id: str) -> Said: ...

    async def drain(self, worker: str) -> Said: ...

    async def list(self, **asked: Any) -> Said: ...

    async def stats(self) -> Said: ...


def _given(task: Fields) -> set[str]:
    """The fields to send: one that a client leaves out must mean the same everywhere, too."""
    defaults = Fields._field_defaults
    return {"task_type"} | {name for name in Fields._fields if getattr(task, name) != defaults.get(name)}


def _seen(view: Any, status: str, result: bytes | None) -> dict[str, object]:
    """Facts of a task, from a view or a message that names them as REST does."""
    names = ("task_type", "queue", "priority", "max_retries", "retry_count")
    # JSON says null for nobody.
    worker_id = view.worker_id or ""
    return {name: getattr(view, name) for name in names} | {
        "status": status,
        "result": result,
        "worker_id": worker_id,
    }


# ---------------------------------------------------------------- TCP


class TcpSpeaker:
    def __init__(self, peer: Dialler | None, refusal: TqError | None) -> None:
        self._peer = peer
        self._refusal = refusal

    async def _ask(self, request: Request) -> Any:
        if self._peer is None:
            return self._refusal
        return await self._peer.ask(request)

    async def submit(self, task: Fields) -> Said:
        reply = await self._ask(Submit((_spec(task),)))
        if isinstance(reply, TqError):
            return _failed(reply)
        return Said(facts={"status": STATUS_OF_STATE[reply.states[0]], "existed": bool(reply.existing)})

    async def submit_batch(self, *tasks: Fields) -> Said:
        reply = await self._ask(Submit(tuple(_spec(task) for task in tasks)))
        if isinstance(reply, TqError):
            return _failed(reply)
        found = [task.task_id for task in tasks]
        for existing in reply.existing:
            found[existing.position] = ids.to_text(existing.task_id)
        return Said(facts={"task_ids": found})

    async def get(self, task_id: str) -> Said:
        view = await self._ask(GetTask(_id(task_id)))
        if isinstance(view, TqError):
            return _failed(view)
        return Said(facts=_seen(view, STATUS_OF_STATE[view.state], view.result))

    async def cancel(self, task_id: str, *, force: bool = False) -> Said:
        return _done(await self._ask(Cancel(_id(task_id), force)))

    async def retry(self, task_id: str) -> Said:
        return _done(await self._ask(Retry(_id(task_id))))

    async def drain(self, worker: str) -> Said:
        return _done(await self._ask(DrainWorker(worker)))

    async def list(self, **asked: Any) -> Said:
        # The wire has numbers for statuses: a word that is none becomes a number that is none.
        state = STATE_OF_STATUS.get(asked.pop("status"), 99) if "status" in asked else 0
        page = await self._ask(ListTasks(state=state, **asked))
        if isinstance(page, TqError):
            return _failed(page)
        return Said(
            facts={"task_ids": [ids.to_text(view.task_id) for view in page.tasks], "total": page.total}
        )

    async def stats(self) -> Said:
        found = await self._ask(GetStats())
        if isinstance(found, TqError):
            return _failed(found)
        assert isinstance(found, Stats)
        return Said(facts={"pending_count": found.pending_count, "durability": found.durability})


def _id(text: str) -> bytes:
    """The bytes of an id; those of any other text as they are, which is what a bad client would send."""
    try:
        return ids.from_text(text)
    except BadRequest:
        return text.encode()


def _spec(task: Fields) -> TaskSpec:
    return TaskSpec(
        _id(task.task_id),
        task.task_type,
        task.payload,
        task.queue,
        task.priority,
        timeout_ms=round(task.timeout_seconds * 1000),
        max_retries=task.max_retries,
        delay_ms=round(task.delay_seconds * 1000),
        dependencies=tuple(_id(each) for each in task.dependencies),
        unique_key=task.unique_key,
        unique_ttl_ms=round(task.unique_ttl * 1000),
        metadata=dict(task.metadata),
    )


def _failed(error: TqError) -> Said:
    return Said(error.code, str(error.outcome), bool(error.retry_after_ms))


def _done(reply: Any) -> Said:
    return _failed(reply) if isinstance(reply, TqError) else Said()


@asynccontextmanager
async def tcp(address: str, token: str) -> AsyncIterator[Speaker]:
    host, _, port = address.rpartition(":")
    peer = Dialler(*await asyncio.open_connection(host, int(port)))
    peer.core.start_hello("client", token, "scenario")
    peer.flush()
    while not peer.events:
        await peer._read()
    greeting = peer.events.pop(0)
    try:
        if isinstance(greeting, CloseReceived):
            yield TcpSpeaker(None, greeting.error)
        else:
            assert isinstance(greeting, Welcomed)
            yield TcpSpeaker(peer, None)
    finally:
        await peer.hang_up()


# ---------------------------------------------------------------- REST


class RestSpeaker:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def _call(self, method: str, path: str, **named: Any) -> tuple[httpx.Response, Said]:
        answer = await self._client.request(method, f"/api/v1{path}", **named)
        if answer.is_success:
            return answer, Said()
        error = answer.json()
        return answer, Said(error["code"], error["outcome"], "retry-after" in answer.headers)

    async def submit(self, task: Fields) -> Said:
        answer, said = await self._call("POST", "/tasks", json=_body(task))
        if said.code:
            return said
        facts = {"status": answer.json()["status"], "existed": answer.status_code == 200}
        return said._replace(facts=facts)

    async def submit_batch(self, *tasks: Fields) -> Said:
        answer, said = await self._call(
            "POST", "/tasks/batch", json={"tasks": [_body(each) for each in tasks]}
        )
        return said if said.code else said._replace(facts={"task_ids": answer.json()["task_ids"]})

    async def get(self, task_id: str) -> Said:
        answer, said = await self._call("GET", f"/tasks/{task_id}")
        if said.code:
            return said
        document = answer.json()
        result = None if document["result"] is None else base64.b64decode(document["result"])
        return said._replace(facts=_seen(SimpleNamespace(**document), document["status"], result))

    async def cancel(self, task_id: str, *, force: bool = False) -> Said:
        return (await self._call("DELETE", f"/tasks/{task_id}", params={"force": "true"} if force else {}))[1]

    async def retry(self, task_id: str) -> Said:
        return (await self._call("POST", f"/tasks/{task_id}/retry"))[1]

    async def drain(self, worker: str) -> Said:
        return (await self._call("POST", f"/workers/{worker}/drain"))[1]

    async def list(self, **asked: Any) -> Said:
        answer, said = await self._call("GET", "/tasks", params=asked)
        if said.code:
            return said
        page = answer.json()
        return said._replace(
            facts={"task_ids": [task["task_id"] for task in page["tasks"]], "total": page["total"]}
        )

    async def stats(self) -> Said:
        answer, said = await self._call("GET", "/stats")
        if said.code:
            return said
        found = answer.json()
        return said._replace(facts={name: found[name] for name in ("pending_count", "durability")})


def _body(task: Fields) -> dict[str, object]:
    body: dict[str, object] = task._asdict()
    body["payload"] = base64.b64encode(task.payload).decode()
    body["metadata"] = dict(task.metadata)
    return {name: value for name, value in body.items() if name in _given(task)}


@asynccontextmanager
async def rest(address: str, token: str) -> AsyncIterator[Speaker]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(
        base_url=f"http://{address}", headers=headers, trust_env=False, verify=False
    ) as client:
        yield RestSpeaker(client)


# ---------------------------------------------------------------- gRPC


class GrpcSpeaker:
    def __init__(self, channel: grpc.aio.Channel, token: str) -> None:
        self._stub: Any = TaskQueueStub(channel)  # type: ignore[no-untyped-call]
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()

    async def _call(self, method: str, message: object) -> tuple[Any, Said]:
        try:
            return await getattr(self._stub, method)(message, metadata=self._metadata), Said()
        except grpc.aio.AioRpcError as error:
            found: dict[Any, Any] = dict(error.trailing_metadata() or ())
            return None, Said(found["tq-code"], found["tq-outcome"], "tq-retry-after-ms" in found)

    async def submit(self, task: Fields) -> Said:
        done, said = await self._call("SubmitTask", pb.SubmitTaskRequest(task=_message(task)))
        return (
            said
            if said.code
            else said._replace(facts={"status": _word(done.status), "existed": done.existed})
        )

    async def submit_batch(self, *tasks: Fields) -> Said:
        done, said = await self._call(
            "SubmitTasks", pb.SubmitTasksRequest(tasks=[_message(each) for each in tasks])
        )
        return said if said.code else said._replace(facts={"task_ids": [each.task_id for each in done.tasks]})

    async def get(self, task_id: str) -> Said:
        task, said = await self._call("GetTaskStatus", pb.GetTaskStatusRequest(task_id=task_id))
        if said.code:
            return said
        return said._replace(
            facts=_seen(task, _word(task.status), task.result if task.HasField("result") else None)
        )

    async def cancel(self, task_id: str, *, force: bool = False) -> Said:
        return (await self._call("CancelTask", pb.CancelTaskRequest(task_id=task_id, force=force)))[1]

    async def retry(self, task_id: str) -> Said:
        raise AssertionError("gRPC has no call for it; LACKS says so")

    async def drain(self, worker: str) -> Said:
        raise AssertionError("gRPC has no call for it; LACKS says so")

    async def list(self, **asked: Any) -> Said:
        if "status" in asked:
            name = f"TASK_STATUS_{asked['status'].upper()}"
            asked["status"] = pb.TaskStatus.Value(name) if name in pb.TaskStatus.keys() else 99  # noqa: SIM118
        page, said = await self._call("ListTasks", pb.ListTasksRequest(**asked))
        if said.code:
            return said
        return said._replace(facts={"task_ids": [task.task_id for task in page.tasks], "total": page.total})

    async def stats(self) -> Said:
        found, said = await self._call("GetStats", pb.GetStatsRequest())
        if said.code:
            return said
        return said._replace(facts={"pending_count": found.pending_count, "durability": found.durability})


def _message(task: Fields) -> pb.TaskSpec:
    values: dict[str, Any] = task._asdict() | {"metadata": dict(task.metadata)}
    given = {name: value for name, value in values.items() if name in _given(task)}
    if "unique_ttl" in given:
        given["unique_ttl_seconds"] = given.pop("unique_ttl")
    return pb.TaskSpec(**given)


def _word(status: int) -> str:
    return pb.TaskStatus.Name(status).removeprefix("TASK_STATUS_").lower()


@asynccontextmanager
async def grpc_door(address: str, token: str) -> AsyncIterator[Speaker]:
    options = [("grpc.max_send_message_length", MESSAGE_BYTES_MAX)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        yield GrpcSpeaker(channel, token)


SPEAKERS: dict[str, Callable[[str, str], AbstractAsyncContextManager[Speaker]]] = {
    "tcp": tcp,
    "rest": rest,
    "grpc": grpc_door,
}
"""door -> opens a client; address: host:port, token: empty = no key"""
LACKS = {"grpc": frozenset({"retry", "drain"})}
"""door -> what it has no call for"""
