"""The kinds of node there are, by name."""

from __future__ import annotations

from tests.sim.consensus import Make
from tests.sim.hardened import HARDENED
from tests.sim.stock import STOCK

MAKES: dict[str, Make] = {make.name: make for make in (STOCK, HARDENED)}
