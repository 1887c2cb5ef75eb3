"""The blocking client is the async one made blocking, and the package gives its names without loading them."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import tq
from tq.client.aio import AsyncClient
from tq.client.sync import Client

ROOT = Path(__file__).resolve().parents[3]


def test_blocking_files_are_what_the_script_makes() -> None:
    check = [sys.executable, "scripts/unasync.py", "--check"]
    run = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stdout + run.stderr


def test_both_clients_have_the_same_methods_with_the_same_arguments_and_words() -> None:
    blocking = {name: method for name, method in vars(Client).items() if not name.startswith("_")}
    of_async = {name: method for name, method in vars(AsyncClient).items() if not name.startswith("_")}

    assert blocking.keys() == of_async.keys()
    for name, method in blocking.items():
        assert inspect.signature(method) == inspect.signature(of_async[name])
        assert method.__doc__ == of_async[name].__doc__


@pytest.mark.parametrize("name", tq.__all__)
def test_every_exported_name_can_be_had_and_is_listed(name: str) -> None:
    assert getattr(tq, name) is not None
    assert name in dir(tq)


def test_exported_names_and_where_they_live_are_the_same_list() -> None:
    assert sorted(tq._HOME) == sorted(tq.__all__)
    assert tq.TaskQueueClient is Client and tq.TaskQueueAsyncClient is AsyncClient


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        tq.nonsense  # noqa: B018


def test_importing_tq_loads_nothing_heavy_and_starts_nothing() -> None:
    code = (
        "import sys, threading; before = set(sys.modules); import tq;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names;"
        "assert new == {'tq'}, new; assert threading.active_count() == 1;"
        "assert not [name for name in sys.modules if name.startswith('tq.')]"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr
