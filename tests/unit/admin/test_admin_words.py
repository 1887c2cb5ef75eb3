"""Numbers, bytes and arguments as people write and read them."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from tq.admin import values, words
from tq.admin.arguments import GLOBAL_SWITCHES, GLOBAL_VALUES, SWITCHES, hoisted
from tq.admin.main import COMMANDS, make_app
from tq.task import PAYLOAD_BYTES_MAX


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0ms"), (850, "850ms"), (1_000, "1s"), (59_999, "59s"), (192_000, "3m 12s"), (3_600_000, "1h"),
        (7_260_000, "2h 1m"), (86_400_000, "1d"), (400 * 86_400_000 + 3_600_000, "400d 1h"), (-5, "0ms"),
    ],
)  # fmt: skip
def test_a_duration_is_its_two_largest_units(ms: int, text: str) -> None:
    assert words.duration(ms) == text


def test_an_age_says_never_ago_or_ahead() -> None:
    assert words.age(0, 100_000) == "-"
    assert words.age(40_000, 100_000) == "1m"
    assert words.age(100_000, 40_000) == "in 1m"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KB"), (10 * 1024**2, "10.0 MB")]
)
def test_a_size_is_said_in_powers_of_1024(count: int, text: str) -> None:
    assert words.size(count) == text


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"", ""), (b"hello", "hello"), (b'{"a":[1]}', '{\n  "a": [\n    1\n  ]\n}'), (b"7", "7"),
        ("grüße".encode(), "grüße"), (b"\x00\x01\xff\xfe\x10", "0001fffe 10"), (b"\x1b[31mred", "1b5b3331 6d726564"),
    ],
)  # fmt: skip
def test_a_payload_is_shown_as_json_text_or_hexadecimal(content: bytes, shown: str) -> None:
    assert words.data(content) == shown


def test_a_long_payload_is_cut_and_says_so() -> None:
    shown = words.data("ü".encode() * words.BYTES_SHOWN_MAX)
    assert shown.endswith(f"... {words.BYTES_SHOWN_MAX:,} bytes more")


@given(st.binary(max_size=200))
def test_no_payload_can_move_the_cursor(content: bytes) -> None:
    assert all(letter.isprintable() or letter == "\n" for letter in words.data(content))


@given(st.text(max_size=100))
def test_no_name_can_move_the_cursor_or_start_a_line(text: str) -> None:
    assert words.plain(text).isprintable()


def test_a_bar_is_as_long_as_its_part_and_never_empty_for_something() -> None:
    assert len(words.bar(10, 10)) == words.BAR_CELLS
    assert len(words.bar(5, 10)) == words.BAR_CELLS // 2
    assert words.bar(1, 1_000_000) == "▏"
    assert words.bar(0, 10) == words.bar(0, 0) == ""


@pytest.mark.parametrize(
    ("given", "moved"),
    [
        ("stats --format json", "--format json stats"),
        ("stats --format=json", "--format=json stats"),
        ("--format json stats", "--format json stats"),
        ("list --limit 5 --broker-addr a:1 --queue q", "--broker-addr a:1 list --limit 5 --queue q"),
        ("stats --watch", "--watch=2.0 stats"),
        ("stats --watch 5", "--watch=5 stats"),
        ("--watch stats", "--watch=2.0 stats"),
        ("--watch=0.5 stats", "--watch=0.5 stats"),
        ("cancel ID --force --tls-insecure", "--tls-insecure cancel ID --force"),
        ("submit --payload --format --type t", "submit --payload --format --type t"),
        ("submit --type t -- --format", "submit --type t -- --format"),
        ("submit --wait --format json", "--format json submit --wait"),
        ("stats --format", "--format stats"),
    ],
)
def test_options_of_every_command_may_stand_anywhere(given: str, moved: str) -> None:
    assert hoisted(given.split()) == moved.split()


def test_the_options_without_a_value_are_known() -> None:
    import typer.main

    group = typer.main.get_command(make_app())
    shared = {name for param in group.params for name in param.opts if name.startswith("--")}
    assert shared == GLOBAL_VALUES | GLOBAL_SWITCHES | {"--watch", "--version"}
    commands = list(group.commands.values())  # type: ignore[attr-defined]
    for inner in [each for each in commands if hasattr(each, "commands")]:
        commands += inner.commands.values()
    switches = {
        name
        for command in commands
        for param in command.params
        if getattr(param, "is_flag", False)
        for name in param.opts
        if name.startswith("--")
    }
    assert switches | {"--version", "--help"} == SWITCHES


def test_every_command_has_a_summary_that_is_not_cut_and_examples() -> None:
    for name, command in COMMANDS.items():
        assert len(command.summary) <= 45, name
        assert command.function.__doc__, name
        assert all(
            example.startswith(f"tq-admin {name}") or "| tq-admin" in example for example in command.examples
        )


@pytest.mark.parametrize("text", ["x", "256", "-1", "highest", ""])
def test_a_wrong_priority_is_a_usage_error(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        values.priority(text)


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("255", 255), ("high", 200), ("LOW", 50)])
def test_a_priority_is_a_number_or_a_name(text: str, number: int) -> None:
    assert values.priority(text) == number


@pytest.mark.parametrize("text", ["nope", "2026-13-01", "+", "+x", "5m"])
def test_a_wrong_start_is_a_usage_error(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        values.start(text)


def test_a_start_is_a_delay_or_a_time_that_is_local_without_a_zone() -> None:
    assert values.start("+5m") == (None, "5m")
    at, delay = values.start("2026-01-02T03:04:05")
    assert at is not None
    assert at.tzinfo is not None
    assert delay is None
    with_zone, _ = values.start("2026-01-02T03:04:05Z")
    assert with_zone is not None
    assert with_zone.timestamp() == 1767323045


@pytest.mark.parametrize("text", ["dead-letter", "DEAD_LETTER"])
def test_a_status_may_be_written_with_dashes_and_in_capitals(text: str) -> None:
    assert values.status(text) == 7


class _Stdin:
    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


def test_a_payload_comes_from_text_a_file_or_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p").write_bytes(b"\xff")
    assert values.payload(text="ü", file=None, source=None) == "ü".encode()
    assert values.payload(text=None, file=str(tmp_path / "p"), source=None) == b"\xff"
    assert values.payload(text=None, file=None, source=None) == b""
    for file, source in (("-", None), (None, "-")):
        monkeypatch.setattr(sys, "stdin", _Stdin(b"\x00in"))
        assert values.payload(text=None, file=file, source=source) == b"\x00in"


def test_two_payloads_a_missing_file_or_too_many_bytes_are_usage_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(typer.BadParameter, match="one of"):
        values.payload(text="a", file="b", source=None)
    with pytest.raises(typer.BadParameter, match="No such file"):
        values.payload(text=None, file=str(tmp_path / "absent"), source=None)
    with pytest.raises(typer.BadParameter, match="not expected"):
        values.payload(text=None, file=None, source="x")
    monkeypatch.setattr(sys, "stdin", _Stdin(bytes(PAYLOAD_BYTES_MAX + 1)))
    with pytest.raises(typer.BadParameter, match="larger"):
        values.payload(text=None, file="-", source=None)
