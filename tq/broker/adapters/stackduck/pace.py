"""How often things are looked after, in milliseconds. Brokers that share a deployment should agree on `alive_ms`."""

from __future__ import annotations

from typing import NamedTuple


class Pace(NamedTuple):
    """alive_ms: a broker that was not heard of for so long is dead to the others, and what it held goes back.

    sweep_ms: between looks for such. orphan_ms: a row that waits and is in no queue for so long was left there by
    an enqueue that went wrong. orphans_every_ms: between looks for those, which read all queues.
    """

    alive_ms: int = 15_000
    sweep_ms: int = 5_000
    orphan_ms: int = 30_000
    orphans_every_ms: int = 60_000

    @property
    def sure_ms(self) -> int:
        """A broker that showed itself within this time is alive to the others."""
        return self.alive_ms // 2

    @property
    def show_ms(self) -> int:
        """How often it shows itself."""
        return self.alive_ms // 5

    @property
    def grace_ms(self) -> int:
        """Redis is back for so long before anybody is judged dead: they all were silent while it was away."""
        return self.alive_ms + self.sweep_ms
