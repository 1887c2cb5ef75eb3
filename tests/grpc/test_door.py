"""The door itself: what stands beside the services, TLS, ports and its end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from tests.access.certificates import Authority
from tests.grpc.serving import STACKDUCK, TASK_QUEUE, WAIT_S, Client, refused, run, serving
from tq.broker.admission import Limits
from tq.broker.tls import TlsContext, TlsFiles
from tq.clock import SystemClock
from tq.proto import taskqueue_pb2 as pb
from tq.verbs import Submit

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def read(path: str) -> bytes:
    return Path(path).read_bytes()


def health(client: Client, service: str = "") -> Any:
    """Watch the health of a service."""
    return client.channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )(health_pb2.HealthCheckRequest(service=service))


def test_reflection_lists_every_service_and_describes_ours() -> None:
    async def scenario() -> None:
        async with serving() as here:
            call = here.client.channel.stream_stream(
                "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
                response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
            )()
            await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            listed = await call.read()
            await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=TASK_QUEUE))
            described = await call.read()
            await call.done_writing()

            names = {service.name for service in listed.list_services_response.service}
            reflection = "grpc.reflection.v1alpha.ServerReflection"
            assert names == {TASK_QUEUE, STACKDUCK, "grpc.health.v1.Health", reflection}
            files = described.file_descriptor_response.file_descriptor_proto
            assert pb.DESCRIPTOR.serialized_pb in files

    run(scenario())


@pytest.mark.parametrize("service", ["", TASK_QUEUE, STACKDUCK])
def test_health_is_serving_until_the_broker_is_asked_to_stop(service: str) -> None:
    async def scenario() -> None:
        async with serving() as here:
            call = health(here.client, service)
            before = await call.read()
            here.door.stop_accepting()
            after = await call.read()

            assert (before.status, after.status) == (SERVING, NOT_SERVING)
            call.cancel()

    run(scenario())


def test_calls_under_way_are_answered_while_the_door_closes() -> None:
    async def scenario() -> None:
        async with serving() as here:
            await here.client.ask(pb.GetStatsRequest())
            here.engine.log.holds = True
            submitting = asyncio.ensure_future(here.client.submit())
            await here.until(lambda: here.observer.requests[Submit])
            closing = asyncio.ensure_future(here.door.close(5_000))
            here.engine.log.let_go()
            await closing

            assert await submitting

    run(scenario())


def test_closing_twice_or_without_having_opened_is_allowed() -> None:
    async def scenario() -> None:
        async with serving() as here:
            here.door.stop_accepting()
            here.door.stop_accepting()
            await here.door.close(0)
            await here.door.close(0)

    run(scenario())


def test_every_service_is_on_a_second_port_too() -> None:
    async def scenario() -> None:
        async with serving() as here:
            host, port = await here.door.open("127.0.0.1", 0)
            task_id = await here.client.submit()
            here.address = f"{host}:{port}"

            assert (await here.connect().status(task_id)).task_id == task_id

    run(scenario())


def test_port_that_is_taken_is_an_os_error_that_says_so() -> None:
    async def scenario() -> None:
        async with serving() as here:
            port = int(here.address.rpartition(":")[2])
            with pytest.raises(OSError, match="in use"):
                await here.door.open("127.0.0.1", port)

    run(scenario())


def test_tls_is_served_and_a_plain_client_is_not(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "one")

    async def scenario() -> None:
        tls = TlsContext(authority.broker(), SystemClock().monotonic_ms)
        async with serving(tls=tls) as here:
            trusting = here.connect(ca=read(authority.path))

            assert await trusting.submit()
            assert (await refused(here.client.submit())).code() == grpc.StatusCode.UNAVAILABLE

    run(scenario())


def test_reloaded_certificate_is_shown_to_new_connections_and_old_ones_stay(tmp_path: Path) -> None:
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")

    async def scenario() -> None:
        tls = TlsContext(old.broker(), SystemClock().monotonic_ms)
        async with serving(tls=tls) as here:
            before = here.connect(ca=read(old.path))
            worker = await before.worker("echo")
            tls.use(tls.load(new.broker()))
            after = here.connect(ca=read(new.path))
            late = here.connect(ca=read(old.path))

            assert await after.submit()
            await worker.settle(await worker.delivery())
            assert await before.submit()
            assert (await refused(late.submit())).code() == grpc.StatusCode.UNAVAILABLE

    run(scenario())


def test_client_without_the_certificate_that_is_asked_for_is_not_let_in(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "one")
    shown = authority.issue("client", host="client")

    async def scenario() -> None:
        files: TlsFiles = authority.broker(clients=authority)
        async with serving(tls=TlsContext(files, SystemClock().monotonic_ms)) as here:
            ca = read(authority.path)
            nobody = here.connect(ca=ca)
            pair = (read(shown.key), read(shown.cert))
            channel = grpc.aio.secure_channel(here.address, grpc.ssl_channel_credentials(ca, *pair))
            here.channels.append(channel)

            assert await Client(channel).submit()
            assert (await refused(nobody.submit())).code() == grpc.StatusCode.UNAVAILABLE

    run(scenario())


def test_who_does_not_begin_http2_is_hung_up_on_long_before_the_time_of_a_tls_handshake() -> None:
    async def scenario() -> None:
        async with serving(limits=Limits(preface_ms=300, handshake_ms=600_000)) as here:
            host, _, port = here.address.rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"PRI * HTTP/2.0\r\n")
            async with asyncio.timeout(WAIT_S):
                with suppress(ConnectionError):
                    await reader.read()  # the door's own settings, and the end
            writer.close()

    run(scenario())


def test_a_tls_handshake_has_the_time_of_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        authority = Authority(tmp_path, "one")
        tls = TlsContext(authority.broker(), SystemClock().monotonic_ms)
        async with serving(limits=Limits(preface_ms=1), tls=tls) as here:
            assert await here.connect(ca=read(authority.path)).submit()

    run(scenario())


def test_connections_are_bounded_and_those_that_say_nothing_make_room_in_time() -> None:
    async def scenario() -> None:
        async with serving(limits=Limits(connections_max=3, handshake_ms=300)) as here:
            await here.client.ask(pb.GetStatsRequest())
            host, _, port = here.address.rpartition(":")
            silent = [await asyncio.open_connection(host, int(port)) for _ in range(6)]
            # Those that are one too many end at once, the others when their time for the handshake is over.
            async with asyncio.timeout(WAIT_S):
                for reader, _ in silent:
                    with suppress(ConnectionError):
                        await reader.read()
            newcomer = here.connect()
            await newcomer.channel.channel_ready()

            assert (await newcomer.ask(pb.GetStatsRequest())).pending_count == 0
            assert (await here.client.ask(pb.GetStatsRequest())).pending_count == 0
            for _, writer in silent:
                writer.close()

    run(scenario())
