"""Every command and every example that README.md shows, run as a newcomer would, in the page's order."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple
from urllib.request import Request, urlopen

import pytest

from lab.processes import Process, broker_address, program

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
DEFAULT_ADDRESS = "127.0.0.1:6379"
DEFAULT_REST = "localhost:8080"
COMMAND_SECONDS_MAX = 60
INSTALL_SECONDS_MAX = 300
INSTALLED = ("tq", "pyproject.toml", "README.md", "LICENSE")
"""What an installation is made of."""


class Block(NamedTuple):
    """A fenced block. language: `python`, or empty for commands."""

    language: str
    text: str


BLOCKS = [Block(*found) for found in BLOCK.findall((ROOT / "README.md").read_text())]


class Newcomer:
    """Somebody with terminals, an empty directory, and a free port in place of the default one."""

    def __init__(self, directory: Path, processes: ExitStack) -> None:
        self.directory = directory
        self._processes = processes
        self._environment = {
            "TQ_PORT": "0",
            "TQ_REST_PORT": "0",
            "TQ_GRPC_PORT": "0",
            "TQ_LOG_FORMAT": "json",
        }

    def start(self, command: str) -> Process:
        """A command that stays in its terminal."""
        name, *arguments = command.split()
        log_path = self.directory / f"{'-'.join(command.replace('/', '-').split())}.log"
        process = Process(
            [program(name), *arguments], log_path=log_path, env=self._environment, directory=self.directory
        )
        return self._processes.enter_context(process)

    def start_broker(self, command: str) -> None:
        broker = self.start(command)
        self._environment["TQ_BROKER_ADDR"] = broker_address(broker)
        self._rest = broker.wait_for_event("ready", COMMAND_SECONDS_MAX)["addresses"]["rest"]

    def curl(self, command: str) -> dict[str, object]:
        """What `curl -s` would send, sent; the JSON that came back. curl itself need not be installed here."""
        _, _, url, *options = shlex.split(command)
        given = dict(zip(options[::2], options[1::2], strict=True))
        body = given["-d"].encode() if "-d" in given else None
        headers = dict([given["-H"].split(": ", 1)]) if "-H" in given else {}
        request = Request(f"http://{url}".replace(DEFAULT_REST, self._rest), body, headers)
        with urlopen(request, timeout=COMMAND_SECONDS_MAX) as response:
            found: dict[str, object] = json.load(response)
        return found

    def run(self, command: str) -> str:
        """A command that ends; what it printed. Raises when it fails."""
        name, *arguments = command.split()
        return self._run([program(name), *arguments])

    def python(self, text: str) -> str:
        """The example, run as a program; what it printed."""
        return self._run(
            [sys.executable, "-c", text.replace(DEFAULT_ADDRESS, self._environment["TQ_BROKER_ADDR"])]
        )

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=os.environ | self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    with ExitStack() as processes:
        yield Newcomer(tmp_path, processes)


def test_the_page_has_the_blocks_that_are_run_here() -> None:
    starts = [block.text.splitlines()[0] for block in BLOCKS]

    assert starts == [
        "make demo",
        "python3 -m venv .venv",
        "tq-broker",
        "tq-worker",
        "tq-admin submit --type echo --payload hi --wait",
        "from tq import App",
        "tq-worker mail:app",
        "from mail import send_email",
        "from tq import Client, Priority, Task",
        "curl -s localhost:8080/api/v1/tasks -H 'content-type: application/json' \\",
    ]


def test_the_first_minute_and_the_python_examples_work(newcomer: Newcomer) -> None:
    _, _, broker, worker, admin, tasks, own_worker, sender, client, rest = (block.text for block in BLOCKS)

    newcomer.start_broker(broker.strip())
    newcomer.start(worker.strip())
    submitted, listed, counted = (newcomer.run(command) for command in admin.splitlines())
    (newcomer.directory / "mail.py").write_text(tasks)
    newcomer.start(own_worker.strip())
    sent = newcomer.python(sender)
    in_bytes = newcomer.python(client)
    submit, wait = rest.replace("\\\n", "").splitlines()
    by_rest = newcomer.curl(wait.replace("PUT-THE-ID-HERE", str(newcomer.curl(submit)["task_id"])))

    assert "hi" in submitted
    assert "echo" in listed
    assert "completed" in listed
    assert counted.strip()
    assert sent.splitlines() == ["sent 'hi' to a@b.c", "scheduled"]
    assert in_bytes.splitlines() == ["b'hello'"]
    assert by_rest["status"] == "completed"
    assert json.loads(b64decode(str(by_rest["result"]))) == {"hello": "there"}


@pytest.mark.timeout(INSTALL_SECONDS_MAX + 30)
def test_the_install_commands_give_the_three_programs(tmp_path: Path) -> None:
    install = BLOCKS[1].text
    for name in INSTALLED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)

    script = f"set -e\n{install}\nfor name in broker worker admin; do tq-$name --version; done"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=os.environ
        | {"PIP_NO_COMPILE": "1"},  # half of the time, and nothing of it is imported twice here
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS_MAX,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    versions = done.stdout.splitlines()[-3:]
    assert [line.split()[0] for line in versions] == ["tq-broker", "tq-worker", "tq-admin"]
    assert len({line.split()[-1] for line in versions}) == 1
