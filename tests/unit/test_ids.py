"""Ids: fresh, roughly in order of time, and readable back from any way of writing them."""

from __future__ import annotations

import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tq.errors import BadRequest
from tq.ids import ID_BYTES, from_text, new_id, to_text


def test_new_id_is_a_uuid_of_version_7_stamped_with_the_time() -> None:
    before_ms = time.time_ns() // 1_000_000
    made = uuid.UUID(bytes=new_id())
    after_ms = time.time_ns() // 1_000_000

    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before_ms <= made.int >> 80 <= after_ms


def test_new_ids_differ() -> None:
    assert len({new_id() for _ in range(10_000)}) == 10_000


@given(st.binary(min_size=ID_BYTES, max_size=ID_BYTES))
def test_text_is_canonical_and_reads_back(task_id: bytes) -> None:
    text = to_text(task_id)

    assert text == str(uuid.UUID(bytes=task_id))
    assert from_text(text) == from_text(text.upper()) == from_text(text.replace("-", "")) == task_id


@pytest.mark.parametrize("text", ["", "7", "not-a-uuid", "0" * 31, "0" * 31 + "\t", "g" * 32, None, 7])
def test_anything_else_is_a_bad_request_that_shows_it(text: object) -> None:
    with pytest.raises(BadRequest, match="is not a task id"):
        from_text(text)  # type: ignore[arg-type]
