"""`grpc.health.v1.Health`: whether the broker takes work, asked once or watched. Needs no key.

Not the servicer of grpcio-health-checking: that one writes to its watchers under one lock, so that a single one that
does not read holds up all others, and with them the news that the broker stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import grpc
from grpc_health.v1 import health_pb2 as pb

from tq.broker.api.grpc.call import Handler
from tq.broker.api.grpc.calls import Calls, Context, parse
from tq.broker.api.grpc.strangers import Strangers

NAME = pb.DESCRIPTOR.services_by_name["Health"].full_name


class Health:
    """The calls, and what they tell."""

    name = NAME

    def __init__(self, calls: Calls, strangers: Strangers) -> None:
        self._calls = calls
        self._strangers = strangers
        self._statuses: dict[str, pb.HealthCheckResponse.ServingStatus] = {}
        self._watchers: set[asyncio.Event] = set()

    def handlers(self) -> dict[str, Handler]:
        """method name -> handler"""
        return {"Check": self._calls.streaming(self._check), "Watch": self._calls.streaming(self._watch)}

    def say(self, status: pb.HealthCheckResponse.ServingStatus, services: Iterable[str]) -> None:
        """From now on this is the status of these services; "" stands for the whole broker."""
        self._statuses.update(dict.fromkeys(services, status))
        for changed in self._watchers:
            changed.set()

    async def _check(self, context: Context, data: bytes) -> None:
        service = parse(pb.HealthCheckRequest, data).service
        status = self._statuses.get(service)
        if status is None:
            context.end(grpc.StatusCode.NOT_FOUND, "there is no such service")
        else:
            context.answer(pb.HealthCheckResponse(status=status).SerializeToString())

    async def _watch(self, context: Context, data: bytes) -> None:
        service = parse(pb.HealthCheckRequest, data).service
        await self._strangers.serve(lambda: self._tell(context, service))

    async def _tell(self, context: Context, service: str) -> None:
        """The status now and at each change; of several changes that come together, the last."""
        changed = asyncio.Event()
        self._watchers.add(changed)
        shown = None
        try:
            while True:
                changed.clear()
                # The one status that is told of what is not there, so that a watcher may wait for it.
                status = self._statuses.get(service, pb.HealthCheckResponse.SERVICE_UNKNOWN)
                if status != shown:
                    shown = status
                    await self._calls.write(
                        context, pb.HealthCheckResponse(status=status).SerializeToString()
                    )
                await changed.wait()
        finally:
            self._watchers.discard(changed)
