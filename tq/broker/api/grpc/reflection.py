"""`grpc.reflection.v1alpha.ServerReflection`: what there is to call, for tools without the .proto. Needs no key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from grpc_reflection.v1alpha import reflection, reflection_pb2

from tq.broker.api.grpc.call import EOF, Handler
from tq.broker.api.grpc.calls import Calls, Context, parse
from tq.broker.api.grpc.strangers import Strangers


class Reflection:
    """services: the full names of all that is served beside this."""

    name = reflection.SERVICE_NAME

    def __init__(self, calls: Calls, strangers: Strangers, services: Sequence[str]) -> None:
        self._calls = calls
        self._strangers = strangers
        self._servicer = reflection.aio.ReflectionServicer((*services, self.name))

    def handlers(self) -> dict[str, Handler]:
        """method name -> handler"""
        return {"ServerReflectionInfo": self._calls.two_way(self._serve)}

    async def _serve(self, context: Context) -> None:
        await self._strangers.serve(lambda: self._answer(context))

    async def _answer(self, context: Context) -> None:
        async for answer in self._servicer.ServerReflectionInfo(_questions(context), context):
            await self._calls.write(context, answer.SerializeToString())


async def _questions(context: Context) -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
    while (data := await context.read()) is not EOF:
        yield parse(reflection_pb2.ServerReflectionRequest, data)
