"""Frames are cut out of a stream whole, in time that grows with its length and no faster."""

from __future__ import annotations

from tq.protocol import limits
from tq.protocol.frames import FrameReader, frame


def test_frames_come_out_whole_from_any_pieces() -> None:
    messages = [frame(kind, bytes(size)) for kind, size in ((1, 0), (2, 70_000), (255, 3), (4, 65_536))]
    data = b"".join(messages)
    for step in (1, 4, 5, 1_000, 65_536, len(data)):
        reader = FrameReader(100_000)

        frames = [found for at in range(0, len(data), step) for found in reader.feed(data[at : at + step])]

        assert [frame(kind, bytes(content)) for kind, content in frames] == messages
        assert reader.is_between_frames


def test_largest_frame_in_small_pieces_is_not_copied_again_and_again() -> None:
    """A reader that joins what it holds on every feed would copy 5 * 10^11 bytes here, for minutes."""
    message, step = memoryview(frame(1, bytes(limits.FRAME_BYTES_MAX - 1))), 256
    reader = FrameReader(limits.FRAME_BYTES_MAX)

    frames = [
        found for at in range(0, len(message), step) for found in reader.feed(bytes(message[at : at + step]))
    ]

    assert len(frames) == 1


def test_reader_gives_nothing_more_after_a_bad_length() -> None:
    reader = FrameReader(100)
    reader.feed(bytes(4))

    assert reader.error is not None
    assert reader.feed(frame(1, b"")) == []
