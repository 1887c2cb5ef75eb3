"""The production code without one of its mitigations: tests that do not notice prove nothing.

Each takes one thing away, in the code as it runs; where one covers for another, both. Its trap is what must notice: a
few fixed seeds of which one must violate something, or a scene that must not hold any more. The letters are those of
`replication/DESIGN.md`.
"""

from __future__ import annotations

from tests.sim.ablations.ablation import Ablation, Scene, Seeds
from tests.sim.ablations.driving import DRIVING
from tests.sim.ablations.keeping import KEEPING
from tests.sim.ablations.messages import MESSAGES

ABLATIONS: tuple[Ablation, ...] = MESSAGES + KEEPING + DRIVING

__all__ = ["ABLATIONS", "Ablation", "Scene", "Seeds"]
