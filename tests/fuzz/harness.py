"""What every fuzz target shares: the atheris loop, seeded with the golden frames.

A target is a script: `python tests/fuzz/fuzz_requests.py -max_total_time=60`. It ends with an error and writes the
input to a file when something raises that must not; run it again with that file to see it again.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))


def run(target: Callable[[bytes], None], seeds: Iterable[bytes]) -> None:
    """Call target with inputs grown from the seeds until the time given on the command line is over."""
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds):
            (Path(corpus) / str(number)).write_bytes(seed)
        atheris.Setup([*sys.argv, corpus], target)
        atheris.Fuzz()
