"""Durations and moments in friendly words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tq.client.durations import duration_ms, duration_s, moment_ms, moment_of
from tq.errors import BadRequest


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        (0, 0), (5, 5000), (0.25, 250), (0.0001, 1), (timedelta(minutes=2), 120_000), ("5m", 300_000),
        ("1h30m", 5_400_000), (" 1d 2h ", 93_600_000), ("250ms", 250), ("1.5s", 1500), ("2W", 1_209_600_000), ("90", 90_000),
    ],
)  # fmt: skip
def test_duration_in_every_form_is_milliseconds(value: timedelta | float | str, ms: int) -> None:
    assert duration_ms(value, "delay") == ms


@pytest.mark.parametrize(
    "value",
    [-1, "", "5 minutes", "m5", "5m-1s", "1e999", "9" * 100, "nan", float("nan"), float("inf"), True, None, [],
     timedelta(seconds=-1), 1e300, "5x5", 10**400],
)  # fmt: skip
def test_what_is_no_duration_is_refused_naming_the_field(value: object) -> None:
    with pytest.raises(BadRequest, match="delay"):
        duration_ms(value, "delay")  # type: ignore[arg-type]


@given(st.integers(0, 10**12))
def test_text_of_milliseconds_reads_as_the_same(ms: int) -> None:
    assert duration_ms(f"{ms}ms", "delay") == ms
    assert duration_s(f"{ms}ms", "delay") == ms / 1000


def test_moment_with_any_zone_is_milliseconds_since_1970_utc() -> None:
    noon = datetime(2030, 1, 1, 12, tzinfo=UTC)
    assert moment_ms(noon, "schedule_at") == 1_893_499_200_000
    assert moment_ms(noon.astimezone(timezone(timedelta(hours=-5))), "schedule_at") == 1_893_499_200_000
    assert moment_ms("2030-01-01T12:00:00Z", "schedule_at") == 1_893_499_200_000
    assert moment_of(1_893_499_200_000) == noon
    assert moment_of(0) is None


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (datetime(2030, 1, 1), "time zone"),  # noqa: DTZ001
        ("2030-01-01T00:00:00", "time zone"),
        ("tomorrow", "ISO 8601"),
        (5, "datetime"),
        (datetime(1970, 1, 1, tzinfo=UTC), "1970"),
    ],
)
def test_what_is_no_moment_is_refused_saying_why(value: object, word: str) -> None:
    with pytest.raises(BadRequest, match=word):
        moment_ms(value, "schedule_at")  # type: ignore[arg-type]
