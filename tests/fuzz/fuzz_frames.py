"""Any bytes in any pieces: the same frames come out, and no more is held than is allowed."""

from __future__ import annotations

import atheris
from harness import run

with atheris.instrument_imports(include=["tq.protocol"]):
    from tq.protocol.frames import FrameReader, frame

FRAME_BYTES_MAX = 300


def target(data: bytes) -> None:
    whole = FrameReader(FRAME_BYTES_MAX)
    expected = [(kind, bytes(body)) for kind, body in whole.feed(data)]
    step = 1 + (data[-1] if data else 0) % 7
    pieces = FrameReader(FRAME_BYTES_MAX)
    found = []
    for at in range(0, len(data), step):
        found += [(kind, bytes(body)) for kind, body in pieces.feed(data[at : at + step])]
    assert found == expected
    assert repr(pieces.error) == repr(whole.error)
    assert data.startswith(b"".join(frame(kind, body) for kind, body in expected))


if __name__ == "__main__":
    run(target, [frame(1, b"x" * size) + frame(255, b"") for size in (0, 1, 255, 299, 300)])
