"""How often the brokers of these tests look after things: as often as a test has patience for."""

from __future__ import annotations

from tq.broker.adapters.stackduck.pace import Pace

PACE = Pace(alive_ms=1_500, sweep_ms=300, orphan_ms=600, orphans_every_ms=300)
