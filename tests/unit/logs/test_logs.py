"""Logs are one JSON object a line, hold no secrets, and cannot hurt the process that writes them."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tq import logs
from tq.clock import ManualClock


@pytest.fixture(autouse=True)
def _leave_logs_as_they_were() -> Iterator[None]:
    yield
    logging.captureWarnings(False)
    logs.configure("warning", "text", sys.__stderr__)
    logging.captureWarnings(False)


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def json_logs(level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    logs.configure(level, "json", stream, clock=ManualClock(1_700_000_000_123))
    return stream


def test_a_line_holds_the_contracts_fields_first_and_then_its_own() -> None:
    stream = json_logs()

    logs.get_logger("node").info("ready", "broker is ready", addresses={"tcp": "h:1"})

    assert list(lines_of(stream)[0].items()) == [
        ("timestamp", "2023-11-14T22:13:20.123Z"),
        ("level", "info"),
        ("message", "broker is ready"),
        ("event", "ready"),
        ("component", "node"),
        ("addresses", {"tcp": "h:1"}),
    ]


def test_lines_below_the_level_are_not_written() -> None:
    stream = json_logs("warning")
    log = logs.get_logger("x")

    for write in (log.debug, log.info, log.warning, log.error, log.critical):
        write("happened")

    assert [line["level"] for line in lines_of(stream)] == ["warning", "error", "critical"]
    assert not log.is_enabled("info")
    assert log.is_enabled("error")


def test_a_field_below_the_level_is_never_looked_at() -> None:
    class Dear:
        def __repr__(self) -> str:
            raise AssertionError("looked at")

    json_logs("warning")
    logs.get_logger("x").info("happened", value=Dear())


def test_a_logger_made_before_configure_follows_it() -> None:
    log = logs.get_logger("early")
    stream = json_logs()
    log.info("happened")
    assert lines_of(stream)[0]["component"] == "early"


@pytest.mark.parametrize("name", sorted(logs.WITHHELD))
def test_payloads_and_secrets_never_reach_the_output(name: str) -> None:
    stream = json_logs()

    logs.get_logger("x").bind(**{name: "hunter2"}).info(
        "happened", **{name.upper(): "hunter2"}, deep=[{"a": {name: "hunter2"}}]
    )

    assert "hunter2" not in stream.getvalue()
    assert lines_of(stream)[0]["deep"] == [{"a": {}}]


def test_bound_fields_go_with_every_line() -> None:
    stream = json_logs()
    log = logs.get_logger("x").bind(task_id=bytes(range(16)), attempt=2)

    log.info("started", attempt=3)

    line = lines_of(stream)[0]
    assert line["task_id"] == "00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert line["attempt"] == 3


def test_an_exception_becomes_its_text_and_its_traceback() -> None:
    stream = json_logs()
    try:
        raise KeyError("nope")
    except KeyError as error:
        logs.get_logger("x").error("failed", error=error, exc_info=True)

    line = lines_of(stream)[0]
    assert line["error"] == "KeyError: 'nope'"
    assert line["exception"].startswith("Traceback")


class _Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1, 2},
        float("nan"),
        float("inf"),
        "\ud800",
        b"\xff",
        _Unprintable(),
        {1: {2: {3: {4: {5: 6}}}}},
    ],
)
@pytest.mark.parametrize("form", logs.FORMATS)
def test_any_value_can_be_logged(value: object, form: str) -> None:
    stream = io.StringIO()
    logs.configure("info", form, stream)

    logs.get_logger("x").info("happened", "it happened", value=value)

    (line,) = stream.getvalue().splitlines()
    assert form == "text" or json.loads(line, parse_constant=lambda word: pytest.fail(word))


def test_what_is_too_large_for_a_line_is_cut_and_says_so() -> None:
    stream = json_logs()

    logs.get_logger("x").info(
        "happened", text="a" * 100_000, items=list(range(1000)), map={str(n): n for n in range(200)}
    )

    line = lines_of(stream)[0]
    assert line["text"].endswith(f"... {100_000 - logs.TEXT_CHARS_MAX} more")
    assert line["items"][-1] == "... 900 more"
    assert line["map"]["..."] == "100 more"


def test_a_field_cannot_take_the_place_of_the_contracts_fields() -> None:
    stream = json_logs()
    logs.get_logger("x").info(
        "happened", "it happened", level="y", component="y", event="y", message="y", timestamp="y"
    )
    line = lines_of(stream)[0]
    assert "y" not in line.values()


def test_text_is_one_line_for_people_that_a_message_cannot_break() -> None:
    stream = io.StringIO()
    logs.configure("info", "text", stream, clock=ManualClock(1_700_000_000_123))

    logs.get_logger("node").info("ready", "ready\nforged", port=1, name="two words")

    assert stream.getvalue() == (
        '2023-11-14T22:13:20.123Z INFO     node: ready\\nforged [ready] port=1 name="two words"\n'
    )


def test_an_unknown_word_is_refused() -> None:
    with pytest.raises(ValueError, match="loud"):
        logs.configure("loud", "json")
    with pytest.raises(ValueError, match="xml"):
        logs.configure("info", "xml")


def test_lines_of_several_threads_do_not_mix() -> None:
    stream = json_logs()
    log = logs.get_logger("x")
    threads = [
        threading.Thread(target=lambda: [log.info("happened", text="t" * 200) for _ in range(50)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(lines_of(stream)) == 200


def test_the_standard_librarys_logging_and_warnings_come_out_in_the_same_shape() -> None:
    stream = json_logs()

    logging.getLogger("asyncio").error("Task %s was never retrieved", 7)
    logging.getLogger("asyncio").info("chatter")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    first, second = lines_of(stream)
    assert (first["component"], first["level"], first["message"]) == (
        "asyncio",
        "error",
        "Task 7 was never retrieved",
    )
    assert (second["component"], second["level"]) == ("py.warnings", "warning")


class _Breaking(io.StringIO):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.errors_left = [error]

    def write(self, text: str) -> int:
        if self.errors_left:
            raise self.errors_left.pop()
        return super().write(text)


def test_a_full_disk_costs_the_line_and_not_the_next() -> None:
    stream = _Breaking(OSError(28, "No space left on device"))
    logs.configure("info", "json", stream)
    log = logs.get_logger("x")

    log.info("lost")
    log.info("kept")

    assert [line["event"] for line in lines_of(stream)] == ["kept"]


def test_a_closed_stream_is_let_go_for_good() -> None:
    stream = _Breaking(BrokenPipeError())
    logs.configure("info", "json", stream)
    log = logs.get_logger("x")

    log.info("lost")
    log.info("lost too")

    assert stream.getvalue() == ""


_WRITER = """
import sys
from tq import logs
logs.configure("info", "json")
log = logs.get_logger("x")
for _ in range(20_000):
    log.info("happened", text="t" * 100)
sys.stderr.write("alive")
"""


def test_a_reader_that_goes_away_does_not_kill_the_process(tmp_path: Path) -> None:
    with open(tmp_path / "errors", "wb") as errors:
        process = subprocess.Popen([sys.executable, "-c", _WRITER], stdout=subprocess.PIPE, stderr=errors)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()

    assert process.wait(timeout=90) == 0
    assert (tmp_path / "errors").read_text() == "alive"


def test_importing_logs_does_not_import_structlog() -> None:
    code = "import sys, tq.logs; sys.exit('structlog' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=90, check=False).returncode == 0
