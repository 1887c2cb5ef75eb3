"""A disk for every node: ext4 in a file, mounted over a loop device. It can be full, and it can lose its power.

Needs root. The power cut is the image method: what the kernel has not yet sent to the device is not in the file, so a
copy of the file is what would be left; `commit=300` keeps the file system from sending it by itself. The broker must
stand still while the copy is taken, as everything does when the power goes.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.shell import run, try_to

IMAGE_BYTES = 1024**3
"""Sparse: costs what is written."""
LEFT_BYTES = 64 * 1024
BALLOON = "balloon"


class LoopDisks:
    """Serves `scene.Disks`. Mounts that are left are gone with the process's mount namespace."""

    def __init__(self, directory: Path, nodes: Sequence[str]) -> None:
        self._directory = directory
        for node in nodes:
            with self._image(node).open("wb") as image:
                image.truncate(IMAGE_BYTES)
            run(
                "mkfs.ext4",
                "-q",
                "-F",
                "-m",
                "0",
                "-E",
                "lazy_itable_init=1,lazy_journal_init=1",
                str(self._image(node)),
            )
            self._mount(node)

    def data_dir(self, node: str) -> Path:
        return self._place(node) / "data"

    def fill(self, name: str) -> None:
        """Leave LEFT_BYTES of room."""
        place = self._place(name)
        free = shutil.disk_usage(place).free - LEFT_BYTES
        run("fallocate", "--length", str(max(free, 4096)), str(place / BALLOON))

    def free(self, name: str) -> None:
        (self._place(name) / BALLOON).unlink(missing_ok=True)

    def photograph(self, name: str) -> None:
        run("cp", "--sparse=always", "--reflink=auto", str(self._image(name)), str(self._photograph(name)))

    def lose_power(self, name: str) -> None:
        run("umount", str(self._place(name)))
        self._photograph(name).replace(self._image(name))
        self._mount(name)

    def close(self) -> None:
        for place in self._directory.glob("*.disk"):
            try_to("umount", "--lazy", str(place))

    def _mount(self, name: str) -> None:
        self._place(name).mkdir(exist_ok=True)
        run("mount", "-o", "loop,commit=300", str(self._image(name)), str(self._place(name)))

    def _place(self, name: str) -> Path:
        return self._directory / f"{name}.disk"

    def _image(self, name: str) -> Path:
        return self._directory / f"{name}.image"

    def _photograph(self, name: str) -> Path:
        return self._directory / f"{name}.photograph"
