"""Wall clocks that can be set, one for each node; nothing else on the machine is touched."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.stepped_broker import OFFSET_NS, VARIABLE


class Clocks:
    def __init__(self, directory: Path, nodes: Sequence[str]) -> None:
        """directory: for one small file a node."""
        self._directory = directory
        for node in nodes:
            self._path(node).write_bytes(OFFSET_NS.pack(0))

    @staticmethod
    def command(name: str) -> list[str]:
        """Start a broker that looks at its clock's file."""
        del name
        return [sys.executable, "-m", "tests.cluster.stepped_broker"]

    def env(self, name: str) -> dict[str, str]:
        return {VARIABLE: str(self._path(name)), "PYTHONPATH": str(Path(__file__).parents[2])}

    def step(self, name: str, seconds: float) -> None:
        """Set a node's clock so far from the machine's, at once; 0 = right again."""
        with self._path(name).open("r+b") as file:
            file.write(OFFSET_NS.pack(int(seconds * 1e9)))

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.clock"
