"""Runs `tq-admin`: inside this process where only the answer matters, as a process where signals and terminals do."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, NamedTuple
from unittest import mock

from lab.processes import program
from tq.admin.main import main

COMMAND_SECONDS_MAX = 90
NOBODY = "127.0.0.1:1"
"""An address where nothing listens."""


class Done(NamedTuple):
    """A command that has ended."""

    exit_code: int
    out: str
    errors: str


class Admin:
    """tq-admin against the broker at an address."""

    def __init__(self, address: str = NOBODY) -> None:
        self.address = address

    def run(self, *arguments: str, stdin: bytes = b"", **env: str) -> Done:
        """Run the program's own main with streams that are no terminals."""
        out, errors = io.StringIO(), io.StringIO()
        given = io.TextIOWrapper(io.BytesIO(stdin))
        with (
            redirect_stdout(out),
            redirect_stderr(errors),
            mock.patch.object(sys, "stdin", given),
            mock.patch.dict(os.environ, {"TQ_BROKER_ADDR": self.address} | env),
        ):
            exit_code = main(arguments)
        return Done(exit_code, out.getvalue(), errors.getvalue())

    def document(self, *arguments: str, stdin: bytes = b"") -> Any:
        """What a command prints as JSON, once it has ended well."""
        done = self.run(*arguments, "--format", "json", stdin=stdin)
        assert done.exit_code == 0, done.errors
        return json.loads(done.out)

    def submit(self, *arguments: str) -> str:
        """The new task's id."""
        return str(self.document("submit", *arguments)["task_id"])

    def start(self, *arguments: str, **streams: Any) -> subprocess.Popen[bytes]:
        """Start the program as a process. stderr is a pipe; the other streams as given to Popen."""
        env = os.environ | {"TQ_BROKER_ADDR": self.address, "TERM": "xterm-256color"}
        env.pop("NO_COLOR", None)
        return subprocess.Popen([program("tq-admin"), *arguments], stderr=subprocess.PIPE, env=env, **streams)
