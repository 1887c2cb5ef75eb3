"""The witness: two slots in turn, and what a damaged one means."""

from __future__ import annotations

from pathlib import Path

import pytest

from tq.broker.rocksdb.witness import FILE_NAME, NOTE_BYTES_MAX, Sighting, Witness, read_witness
from tq.errors import StoreDamaged


def write(directory: Path, count: int) -> None:
    """Testify `count` times: sequence 1, 2, ..."""
    Witness.create(str(directory))
    witness = Witness.open(str(directory))
    for sequence in range(1, count + 1):
        witness.write(Sighting(sequence, 5, 100 * sequence, b"note %d" % sequence))
    witness.fsync()
    witness.close()
    witness.close()


def test_new_witness_has_seen_nothing(tmp_path: Path) -> None:
    write(tmp_path, 0)

    assert read_witness(str(tmp_path))[1] == Sighting(0, 0, 0, b"")


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_last_testimony_is_read_back_and_work_goes_on_from_it(tmp_path: Path, count: int) -> None:
    write(tmp_path, count)

    assert read_witness(str(tmp_path))[1] == Sighting(count, 5, 100 * count, b"note %d" % count)
    witness = Witness.open(str(tmp_path))
    witness.write(Sighting(99))
    witness.close()
    assert read_witness(str(tmp_path))[1] == Sighting(99)


@pytest.mark.parametrize("count", [4, 5])
def test_torn_newest_slot_leaves_the_one_before(tmp_path: Path, count: int) -> None:
    write(tmp_path, count)
    path = tmp_path / FILE_NAME
    content = bytearray(path.read_bytes())
    slot = (
        (count + 1) % 2 * 512
    )  # the turn begins at 1, so slot (turn     slot = (count + 1) % 2 * 512 1) of turn count + 1
    content[slot + 10 : slot + 200] = bytes(190)
    path.write_bytes(content)

    assert read_witness(str(tmp_path))[1].sequence == count - 1


def test_witness_without_a_whole_slot_is_damage(tmp_path: Path) -> None:
    write(tmp_path, 3)
    path = tmp_path / FILE_NAME
    path.write_bytes(bytes(1024))

    with pytest.raises(StoreDamaged, match=FILE_NAME):
        Witness.open(str(tmp_path))


def test_missing_witness_is_damage(tmp_path: Path) -> None:
    with pytest.raises(StoreDamaged, match=FILE_NAME):
        Witness.open(str(tmp_path))


def test_note_that_does_not_fit_is_a_programmers_error(tmp_path: Path) -> None:
    Witness.create(str(tmp_path))
    witness = Witness.open(str(tmp_path))
    with pytest.raises(ValueError, match="does not fit"):
        witness.write(Sighting(note=bytes(NOTE_BYTES_MAX + 1)))
    witness.close()
