"""`tq-admin` as a process: terminals, pipes, --watch and Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.ports import ReservedPort
from lab.processes import broker_address, start_broker
from tests.admin.running import COMMAND_SECONDS_MAX, Admin
from tq.admin.progress import progress


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One broker for all the tests of this file."""
    directory = tmp_path_factory.mktemp("admin")
    with start_broker(directory) as broker:
        yield broker_address(broker)


@pytest.fixture
def admin(address: str) -> Admin:
    return Admin(address)


def test_on_a_terminal_there_are_colours(admin: Admin) -> None:
    leader, follower = pty.openpty()
    with admin.start("health", stdout=follower, stdin=follower) as process:
        os.close(follower)
        shown = os.read(leader, 4096)
        process.wait(timeout=COMMAND_SECONDS_MAX)
    os.close(leader)
    assert b"\x1b[" in shown


def test_watch_prints_a_document_a_line_until_ctrl_c(admin: Admin) -> None:
    with admin.start("health", "--format", "json", "--watch", "0.1", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=COMMAND_SECONDS_MAX) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert [json.loads(line)["status"] for line in lines] == ["healthy"] * 3


def test_watch_repaints_a_terminal_until_ctrl_c(admin: Admin) -> None:
    leader, follower = pty.openpty()
    with admin.start("queue-depth", "--watch", "0.1", stdout=follower, stdin=follower) as process:
        os.close(follower)
        shown = b""
        while shown.count(b"PRIORITY") < 3:
            shown += os.read(leader, 65536)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=COMMAND_SECONDS_MAX) == 0
    os.close(leader)


def test_watch_waits_for_a_broker_that_went_away(tmp_path: Path) -> None:
    with ReservedPort() as port, start_broker(tmp_path, port=port.number) as broker:
        where = broker_address(broker)
        with Admin(where).start("health", "--format", "json", "--watch", "0.1", "--timeout", "0.3",
                      stdout=subprocess.PIPE) as process:  # fmt: skip
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            broker.stop()
            assert b"waiting for it" in process.stderr.readline()
            with start_broker(tmp_path, port=port.number, log_path=tmp_path / "second.log") as second:
                broker_address(second)
                while json.loads(process.stdout.readline())["status"] != "healthy":
                    pass
                process.send_signal(signal.SIGINT)
                assert process.wait(timeout=COMMAND_SECONDS_MAX) == 0


def test_a_reader_that_had_enough_is_no_error(admin: Admin) -> None:
    with admin.start("health", "--format", "json", "--watch", "0.1", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=COMMAND_SECONDS_MAX) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""


@pytest.mark.parametrize(("answer", "code", "left"), [(b"y\n", 0, 0), (b"n\n", 1, 1)])
def test_purge_asks_whoever_sits_at_the_terminal(admin: Admin, answer: bytes, code: int, left: int) -> None:
    queue = f"asked-{code}"
    admin.submit("--type", "t", "--queue", queue)
    leader, follower = pty.openpty()
    command = ("purge", "--status", "pending", "--older-than", "0", "--queue", queue)
    with admin.start(*command, stdin=follower, stdout=subprocess.PIPE) as process:
        os.write(leader, answer)
        _, errors = process.communicate(timeout=COMMAND_SECONDS_MAX)
    for descriptor in (leader, follower):
        os.close(descriptor)
    assert process.returncode == code, errors
    assert b"This forgets 1 pending task of queue" in errors
    assert admin.document("list", "--queue", queue)["total"] == left


def test_long_work_has_a_bar_on_a_terminal_and_none_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("copying", 10) as advance:
        advance(10)
    assert capsys.readouterr().err == ""

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress("copying", 10) as advance:
        advance(10)
    assert "copying" in capsys.readouterr().err
