"""Key layout: encoders and decoders agree, and byte order is the order tables are read in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tq.broker.storage import keys

seqs = st.integers(0, 2**64 - 1)
kinds = st.integers(0, 2**32 - 1)
classes = st.integers(0, 255)


@given(seqs, seqs)
def test_sequences_sort_as_numbers(one: int, other: int) -> None:
    assert (keys.seq_key(one) < keys.seq_key(other)) == (one < other)
    assert keys.seq_of(keys.seq_key(one)) == one


@given(st.tuples(seqs, kinds), st.tuples(seqs, kinds))
def test_attempts_sort_by_task_then_number(one: tuple[int, int], other: tuple[int, int]) -> None:
    assert (keys.attempt_key(*one) < keys.attempt_key(*other)) == (one < other)
    assert keys.attempt_of(keys.attempt_key(*one)) == one
    assert keys.seq_of(keys.attempt_key(*one)) == one[0]


@given(st.tuples(classes, kinds, seqs), st.tuples(classes, kinds, seqs))
def test_index_sorts_by_class_then_kind_then_sequence(
    one: tuple[int, int, int], other: tuple[int, int, int]
) -> None:
    assert (keys.index_key(*one) < keys.index_key(*other)) == (one < other)
    assert keys.index_of(keys.index_key(*one)) == one


@given(st.tuples(classes, kinds, seqs), st.integers(0, 254), kinds)
def test_index_range_holds_its_class_or_kind_and_nothing_else(
    entry: tuple[int, int, int], state_class: int, kind: int
) -> None:
    key = keys.index_key(*entry)

    start, stop = keys.index_range(state_class)
    assert (start <= key < stop) == (entry[0] == state_class)

    start, stop = keys.index_range(state_class, kind)
    assert (start <= key < stop) == (entry[:2] == (state_class, kind))


@given(kinds, seqs)
def test_kinds_and_minutes_come_back(kind: int, minute: int) -> None:
    assert keys.kind_of(keys.kind_key(kind)) == kind
    assert keys.minute_of(keys.minute_key(minute)) == minute


@given(st.text(max_size=20), st.text(max_size=20))
def test_names_sort_by_code_point(one: str, other: str) -> None:
    assert (keys.name_key(one) < keys.name_key(other)) == (one < other)
    assert keys.name_of(keys.name_key(one)) == one


@given(st.binary(min_size=1).filter(lambda p: p.strip(b"\xff") != b""), st.binary())
def test_prefix_end_is_above_every_key_with_the_prefix(prefix: bytes, rest: bytes) -> None:
    assert prefix + rest < keys.prefix_end(prefix)


def test_prefix_of_only_highest_bytes_has_no_end() -> None:
    with pytest.raises(ValueError, match="no key is above"):
        keys.prefix_end(b"\xff\xff")


def test_layout_on_disk_is_fixed() -> None:
    assert keys.seq_key(258).hex() == "0000000000000102"
    assert keys.attempt_key(1, 2).hex() == "000000000000000100000002"
    assert keys.index_key(3, 4, 5).hex() == "03000000040000000000000005"
    assert keys.kind_key(4).hex() == "00000004"
    assert keys.minute_key(6).hex() == "0000000000000006"
    assert keys.name_key("é") == b"\xc3\xa9"
