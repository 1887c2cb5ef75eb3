"""The TCP door under a crowd of random peers: whatever they do, one honest peer is served and nothing is left over."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.doors.serving import Dialler, Serving, run, serving
from tq.broker.admission import Limits
from tq.errors import TqError
from tq.ids import new_id
from tq.task import TaskSpec
from tq.verbs import Done, GetTask, Ping, Register, Submit

PEERS = 60
LIMITS = Limits(
    handshake_ms=200,
    idle_ms=2_000,
    unread_ms=100,
    linger_ms=100,
    connections_max=40,
    bytes_in_flight_max=64 * 1024,
    out_high_bytes=32 * 1024,
    out_low_bytes=4 * 1024,
    out_max_bytes=4 * 1024 * 1024,
)


async def babble(here: Serving, rng: random.Random) -> None:
    """Random bytes, from the first one on."""
    _, writer = await here.stranger()
    writer.write(rng.randbytes(rng.randrange(1, 2000)))
    await asyncio.sleep(rng.random() / 50)
    writer.transport.abort()


async def vanish(here: Serving, rng: random.Random) -> None:
    """A connection that is gone before it was looked at."""
    _, writer = await here.stranger()
    writer.transport.abort()


async def flood(here: Serving, rng: random.Random) -> None:
    """Requests without reading an answer, then gone in the middle of one."""
    peer = await here.dial()
    peer.stop_reading()
    for _ in range(rng.randrange(1, 300)):
        peer.send(_some_request(here, rng))
    await asyncio.sleep(rng.random() / 20)
    peer.core.send_request(Submit((TaskSpec(new_id(), "t", bytes(1000)),)))
    peer.writer.write(peer.core.data_to_send()[: rng.randrange(1000)])
    await _end(peer, rng)


async def work(here: Serving, rng: random.Random) -> None:
    """Registers, takes what is pushed, leaves without settling."""
    peer = await here.dial("worker")
    peer.send(Register(new_id(), "w", ("default",), ("t",), rng.randrange(1, 50)))
    await asyncio.sleep(rng.random() / 50)
    await _end(peer, rng)


async def _end(peer: Dialler, rng: random.Random) -> None:
    if rng.random() < 0.5:
        peer.writer.transport.abort()
    else:
        peer.writer.close()


def _some_request(here: Serving, rng: random.Random) -> Submit | GetTask | Ping:
    if rng.random() < 0.3:
        return Submit((TaskSpec(new_id(), "t", bytes(rng.randrange(20_000))),))
    known = next(reversed(here.backend.tasks), None)
    return GetTask(known) if known and rng.random() < 0.8 else Ping()


@pytest.mark.parametrize("seed", range(5))
def test_random_peers_harm_neither_an_honest_one_nor_the_door(seed: int) -> None:
    async def scenario() -> None:
        rng = random.Random(seed)
        async with serving(LIMITS) as here:
            honest = await here.dial()
            crowd = [
                asyncio.ensure_future(rng.choice([babble, vanish, flood, work])(here, rng))
                for _ in range(PEERS)
            ]
            while not all(peer.done() for peer in crowd):
                here.backend.hold = rng.random() < 0.5
                await asyncio.sleep(0.001)
                here.backend.release()
                assert await honest.ask(Ping()) == Done()
            # Being refused or cut off is what they were after; anything else is a defect of the test.
            ends = await asyncio.gather(*crowd, return_exceptions=True)
            assert not [end for end in ends if end and not isinstance(end, OSError | TqError)]

            await here.until(lambda: here.door.connections_held == 1)
            assert here.observer.connections_open == 1
            assert await honest.ask(Ping()) == Done()

    run(scenario())
