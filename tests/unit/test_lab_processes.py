"""The programs that tests start: what is kept of one that does not stop."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from lab.processes import Process

STUBBORN = """
import signal

def sits_here():
    print('{"event": "ready"}', flush=True)
    while True:
        signal.pause()

signal.signal(signal.SIGTERM, lambda *_: None)
sits_here()
"""


def test_program_that_does_not_stop_in_time_is_killed_and_its_log_says_where_it_stood(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Process([sys.executable, "-c", STUBBORN], log_path=log) as program:
        program.wait_for_event("ready")

        assert program.stop(timeout=0.1) == signal.SIGKILL

        assert not program.is_running
    assert "in sits_here" in log.read_text()
    assert f"thread {program.pid} " in log.read_text()
