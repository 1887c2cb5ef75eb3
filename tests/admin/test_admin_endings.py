"""How `tq-admin` ends: what it was told wrongly, what the broker refuses, what nobody answers."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from tests.admin.running import COMMAND_SECONDS_MAX, NOBODY, Admin
from tests.admin.scripted import scripted_broker
from tq import verbs
from tq.admin.main import COMMANDS, main
from tq.errors import (
    AuthenticationFailed,
    BrokerUnavailable,
    OutcomeUnknown,
    PermissionDenied,
    QueueFull,
    TqError,
)
from tq.ids import new_id, to_text
from tq.version import VERSION

TOO_LATE_MS = 60_000
"""A retry-after beyond any time-out used here: the client gives up at once instead of trying until the time is up."""


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "not-a-uuid"), ("submit",), ("submit", "--type", ""), ("submit", "--type", "t", "--priority", "999"),
        ("submit", "--type", "t", "--schedule-at", "tomorrow"), ("submit", "--type", "t", "--payload-file", "absent"),
        ("submit", "--type", "t", "--depends-on", "x"), ("submit", "--type", "t", "--watch"),
        ("list", "--status", "lost"), ("list", "--limit", "0"), ("purge", "--status", "completed"), ("dance",),
        ("stats", "--format", "xml"), ("stats", "--watch", "0"), ("stats", "--tls-ca", "absent.pem"),
        ("stats", "--broker-addr", "a:b:c"), ("hash-key", "two words"),
    ],
)  # fmt: skip
def test_a_mistake_on_the_command_line_ends_with_two(arguments: tuple[str, ...]) -> None:
    done = Admin().run(*arguments)
    assert (done.exit_code, done.out) == (2, "")
    assert done.errors
    assert "Traceback" not in done.errors


def test_no_broker_ends_with_three_and_says_where_it_looked() -> None:
    done = Admin().run("stats")
    assert (done.exit_code, done.out) == (3, "")
    assert NOBODY in done.errors


def test_a_submit_without_an_answer_ends_with_four_and_says_how_to_ask_again() -> None:
    task_id = to_text(new_id())
    with scripted_broker(lambda request: None) as address:
        done = Admin(address).run("submit", "--type", "t", "--task-id", task_id, "--timeout", "2")
    assert (done.exit_code, done.out) == (4, "")
    assert f"--task-id {task_id}" in done.errors


def test_ctrl_c_in_the_middle_of_a_change_ends_with_four() -> None:
    asked = threading.Event()

    def never(request: verbs.Request) -> None:
        asked.set()

    with (
        scripted_broker(never) as address,
        Admin(address).start("submit", "--type", "t", stdout=subprocess.PIPE) as process,
    ):
        assert asked.wait(COMMAND_SECONDS_MAX)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=COMMAND_SECONDS_MAX)
    assert process.returncode == 4
    assert b"--task-id" in errors


def test_ctrl_c_in_the_middle_of_a_look_ends_with_130() -> None:
    asked = threading.Event()

    def never(request: verbs.Request) -> None:
        asked.set()

    with (
        scripted_broker(never) as address,
        Admin(address).start("stats", stdout=subprocess.PIPE) as process,
    ):
        assert asked.wait(COMMAND_SECONDS_MAX)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=COMMAND_SECONDS_MAX)
    assert process.returncode == 130, errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (QueueFull("full", retry_after_ms=TOO_LATE_MS), 1),
        (PermissionDenied("no"), 1),
        (BrokerUnavailable("stopping", retry_after_ms=TOO_LATE_MS), 3),
        (OutcomeUnknown("?", retry_after_ms=TOO_LATE_MS), 4),
    ],
)
def test_the_exit_code_says_what_became_of_it(error: TqError, code: int) -> None:
    with scripted_broker(lambda request: error) as address:
        done = Admin(address).run("pause", "q", "--timeout", "20")
    assert done.exit_code == code, done.errors
    assert done.out == ""


def test_a_key_the_broker_does_not_know_ends_with_one() -> None:
    with scripted_broker(lambda request: None, refusal=AuthenticationFailed("who is that?")) as address:
        done = Admin(address).run("stats", TQ_API_KEY="hunter2")
    assert done.exit_code == 1
    assert "who is that?" in done.errors
    assert "hunter2" not in done.errors


def test_a_purge_goes_on_while_there_is_more_and_says_what_went_before_a_failure() -> None:
    steps: list[verbs.Reply | TqError] = [verbs.Purged(1000, True), verbs.Purged(7, False)]

    def answer(request: verbs.Request) -> verbs.Reply | TqError:
        return verbs.TaskPage((), 1007, 1, 0, 0) if isinstance(request, verbs.ListTasks) else steps.pop(0)

    command = ("purge", "--status", "completed", "--older-than", "7d", "--yes")
    with scripted_broker(answer) as address:
        assert Admin(address).document(*command)["purged"] == 1007
        steps[:] = [verbs.Purged(1000, True), PermissionDenied("no more")]
        failed = Admin(address).run(*command)
    assert failed.exit_code == 1
    assert "1,000 tasks were purged before this" in failed.errors


def test_an_unwell_broker_makes_health_end_with_one() -> None:
    health = verbs.Health("degraded", True, "n", 0, 0, "strict", ("the disk is slow",))
    with scripted_broker(lambda request: health) as address:
        done = Admin(address).run("health")
    assert done.exit_code == 1
    assert "the disk is slow" in done.out


def test_changes_of_a_cluster_are_asked_for_as_they_were_typed_and_show_what_came_of_them() -> None:
    asked: list[verbs.Request] = []
    joining = verbs.Member("n2", "h:2", "observer", 1, 1, 1, is_joining=True)
    cluster = verbs.Cluster((verbs.Member("n1", "h:1", "leader", 1, 1, 1, is_self=True), joining), "n1")

    def answer(request: verbs.Request) -> verbs.Reply:
        asked.append(request)
        return cluster

    with scripted_broker(answer) as address:
        done = Admin(address).run("add-node", "n2", "h:2")
        for command in (
            ("add-node", "n3", "h:3", "--observer"),
            ("remove-node", "n2"),
            ("transfer-leadership",),
            ("transfer-leadership", "n2"),
        ):
            assert Admin(address).run(*command).exit_code == 0
    assert "observer, joining" in done.out
    assert asked == [
        verbs.AddNode("n2", "h:2"),
        verbs.AddNode("n3", "h:3", votes=False),
        verbs.RemoveNode("n2"),
        verbs.TransferLeadership(),
        verbs.TransferLeadership("n2"),
    ]


def test_version_and_help_need_no_broker_and_name_every_command() -> None:
    assert Admin().run("--version").out == f"tq-admin {VERSION}\n"
    shown = Admin().run("--help")
    assert shown.exit_code == 0
    for command in ("submit", "status", "list", "cancel", "retry", "purge", "workers", "stats", "queue-depth",
                    "cluster-status", "transfer-leadership", "add-node", "remove-node", "backup", "restore", "verify",
                    "hash-key", "health", "pause", "resume"):  # fmt: skip
        assert f"  {command} " in shown.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"tq-admin {command}" in capsys.readouterr().out.partition("Examples:")[2]


def test_help_imports_neither_rich_nor_the_client() -> None:
    code = "import sys, tq.admin.main as m; m.main(['--help']); sys.exit(bool({'rich', 'tq.client', 'yaml', 'bcrypt', 'ssl'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=COMMAND_SECONDS_MAX, check=False
    )
    assert done.returncode == 0, done.stderr
