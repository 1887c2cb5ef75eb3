"""Naming tasks, options, and everything that is wrong with them at the decorator."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tq.clock import ManualClock
from tq.errors import BadRequest
from tq.retry import CUSTOM, LINEAR, RetryPolicy
from tq.worker.app import App
from tq.worker.definition import Kind
from tq.worker.loading import load_app
from tq.worker.options import Retry, SubmitOptions

APP = App(clock=ManualClock(1_000_000))


@APP.task(queue="mail", priority="high", max_retries=5, timeout="30s", retry=Retry("linear", base="10s"))
async def send_mail(to: str, subject: str = "hello") -> str:
    """Send it."""
    return f"{to}: {subject}"


@APP.task
def add(a: int, b: int) -> int:
    return a + b


def test_a_plain_call_runs_the_function_here() -> None:
    assert add(1, b=2) == 3
    coroutine = send_mail("a@b.c")
    assert coroutine.cr_code is not None  # type: ignore[attr-defined]
    coroutine.close()


def test_a_task_function_keeps_the_functions_name_and_docstring() -> None:
    assert send_mail.__doc__ == "Send it."
    assert send_mail.__name__ == "send_mail"  # type: ignore[attr-defined]
    assert send_mail.name == f"{__name__}.send_mail"


def test_an_async_def_runs_on_the_loop_and_a_def_in_a_thread() -> None:
    assert send_mail.definition.lane == "async"
    assert add.definition.lane == "thread"


def test_declared_options_and_changes_make_the_spec() -> None:
    task = send_mail.options(delay="5m", max_retries=0, metadata={"a": "b"}).prepare("x").task
    spec = task.spec_with(b"")
    assert (spec.queue, spec.priority, spec.timeout_ms, spec.delay_ms) == ("mail", 200, 30_000, 300_000)
    assert (spec.max_retries, spec.metadata) == (0, {"a": "b"})
    assert spec.retry == RetryPolicy(LINEAR, 10_000)
    assert spec.payload == b"\x92\x91\xa1x\x80"


def test_options_can_be_chained_and_change_nothing_of_their_origin() -> None:
    urgent = send_mail.options(priority=255)
    assert urgent.options(queue="other").prepare("x").task.spec_with(b"")[3:5] == ("other", 255)
    assert send_mail.prepare("x").task.spec_with(b"").priority == 200


@pytest.mark.parametrize(
    ("expires", "expected_ms"),
    [
        ("1m", 1_060_000),
        (timedelta(seconds=1), 1_001_000),
        ("2030-01-01T00:00:00+00:00", 1_893_456_000_000),
        (datetime(2030, 1, 1, tzinfo=UTC), 1_893_456_000_000),
    ],
)
def test_expires_takes_a_duration_from_now_or_a_moment(
    expires: str | timedelta | datetime, expected_ms: int
) -> None:
    assert add.options(expires=expires).prepare(1, 2).task.spec_with(b"").expires_at_ms == expected_ms


def test_retry_says_its_policy() -> None:
    assert Retry(delays=["1s", 2, timedelta(minutes=1)]).policy().delays_ms == (1_000, 2_000, 60_000)
    assert Retry(delays=[1]).policy().strategy == CUSTOM
    assert Retry(jitter=1, factor=1.5).policy()[1:5] == (5_000, 1_500, 3_600_000, 1_000)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((1,), "missing a required argument: 'b'"),
        ((1, 2, 3), "too many positional arguments"),
    ],
)
def test_arguments_that_do_not_fit_the_signature_are_refused_at_send(
    arguments: tuple[int, ...], words: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        add.prepare(*arguments)  # type: ignore[call-arg, arg-type]
    assert words in caught.value.text
    assert f"{__name__}.add(a: int, b: int)" in caught.value.text.replace("'int'", "int")


def test_an_option_that_does_not_exist_is_named() -> None:
    with pytest.raises(BadRequest, match="colour: no such option; there are delay"):
        add.options(colour="red")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"priority": 256}, "priority is 256"),
        ({"priority": "urgent"}, "priority is 'urgent'"),
        ({"timeout": "soon"}, "timeout is 'soon'"),
        ({"timeout": 0}, "timeout is 0"),
        ({"max_retries": -1}, "max_retries is -1"),
        ({"retry": Retry(jitter=2)}, "jitter goes from 0 to 1"),
        ({"retry": Retry("sometimes")}, "'sometimes' is not one of"),  # type: ignore[arg-type]
        ({"retry": Retry("custom")}, "custom needs 1 to 100 delays"),
        ({"queue": ""}, "queue is ''"),
    ],
)
def test_a_wrong_declaration_is_refused_at_the_decorator(options: dict[str, object], words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        App().task(name="t", **options)(add.definition.function)  # type: ignore[call-overload]
    assert caught.value.text.startswith("task 't': ")
    assert words in caught.value.text


def test_a_unique_ttl_for_one_call_needs_a_unique_key() -> None:
    with pytest.raises(BadRequest, match="unique_key"):
        add.options(unique_ttl="1m")
    spec = add.options(unique_ttl="1m", unique_key="k").prepare(1, 2).task.spec_with(b"")
    assert (spec.unique_key, spec.unique_ttl_ms) == ("k", 60_000)


def test_a_name_can_be_taken_once() -> None:
    app = App()
    app.task(name="t")(add.definition.function)
    with pytest.raises(BadRequest, match="'t' is there already"):
        app.task(name="other", aliases=["t"])(add.definition.function)


def test_a_plain_function_cannot_run_on_the_loop() -> None:
    with pytest.raises(BadRequest, match="needs an async def"):
        App().task(kind="async")(add.definition.function)


@pytest.mark.parametrize(
    ("kind", "lanes"),
    [
        ("auto", ("async", "thread")),
        ("async", ("async", "thread")),
        ("thread", ("thread", "thread")),
        ("process", ("process", "process")),
    ],
)
def test_the_workers_kind_applies_to_tasks_that_left_it_open(kind: Kind, lanes: tuple[str, str]) -> None:
    registry = APP.registry(kind)
    assert (registry[send_mail.name].lane, registry[add.name].lane) == lanes


def test_in_a_script_the_files_name_stands_for_main(tmp_path: Path) -> None:
    script = tmp_path / "shop.py"
    script.write_text(
        "from tq import App\napp = App()\n@app.task\ndef buy(): ...\nimport sys; sys.stdout.write(buy.name)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=90, check=True
    )
    assert done.stdout == "shop.buy"


def test_dependencies_take_ids_and_handles() -> None:
    first = "01890a5d-ac96-774b-bcce-b302099a8057"
    spec = add.options(dependencies=[first, APP.handle(first)]).prepare(1, 2).task.spec_with(b"")
    assert len(set(spec.dependencies)) == 1 and len(spec.dependencies) == 2
    with pytest.raises(BadRequest, match="dependencies is a text"):
        add.options(dependencies=first).prepare(1, 2)


def test_every_option_of_the_keywords_is_one_of_submit_options() -> None:
    from tq.worker.options import OPTION_NAMES, OptionChanges, TaskDefaults

    assert OptionChanges.__annotations__.keys() == OPTION_NAMES
    assert TaskDefaults.__annotations__.keys() <= OPTION_NAMES
    assert SubmitOptions().merged({}) == SubmitOptions()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", "not MODULE:APP"),
        ("no_such_module_here:app", "no module 'no_such_module_here'"),
        ("tq.worker.no_such:app", "no module 'tq.worker.no_such'"),
        ("tq.worker.builtin:nothing", "has no 'nothing'"),
        ("tq.worker.builtin:SLEEP_S_MAX", "is float, not a tq.App"),
    ],
)
def test_an_app_that_cannot_be_found_is_explained(path: str, words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        load_app(path)
    assert words in caught.value.text


def test_a_module_may_give_an_app_or_a_function_that_makes_one() -> None:
    assert load_app(f"{__name__}:APP") is APP
    assert isinstance(load_app("tq.worker.builtin:make_app"), App)
