"""The ports that tests reserve: nobody else gets them, and who is told the number may listen there again and again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import ExitStack

import pytest
import uvloop

from lab.ports import LOOPBACK, ReservedPort

MANY = 100


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_servers_may_listen_at_a_reserved_port_one_after_the_other(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def serve(port: int) -> None:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, LOOPBACK, port)
        socket.create_connection((LOOPBACK, port)).close()
        server.close()

    with ReservedPort() as port, asyncio.Runner(loop_factory=loop_factory) as runner:
        for _ in range(3):
            runner.run(serve(port.number))
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((LOOPBACK, port.number))


def test_a_reserved_port_is_kept_from_who_does_not_say_that_he_shares_it() -> None:
    with ReservedPort() as port, socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((LOOPBACK, port.number))


def test_reserved_ports_differ_and_are_given_back() -> None:
    with ExitStack() as held:
        ports = [held.enter_context(ReservedPort()) for _ in range(MANY)]
        assert len({port.number for port in ports}) == MANY
    with socket.socket() as other:
        other.bind((LOOPBACK, ports[0].number))
