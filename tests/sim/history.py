"""What clients and workers saw, for the checker: every submit with its outcome, every settle with its answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

OK, FAILED, UNKNOWN = "ok", "failed", "unknown"


@dataclass(slots=True)
class Submitted:
    """One task as its client knows it. tries: how often it was sent, always with the same id."""

    at: float
    outcome: str = UNKNOWN
    tries: int = 0


@dataclass(slots=True)
class History:
    """submits: by task id. done: settles with Cause.DONE that were answered OK, by task id, with their tokens.

    acknowledged: ids in the order their clients heard. waits: seconds from a submit to its acknowledgement.
    """

    submits: dict[bytes, Submitted] = field(default_factory=dict)
    done: dict[bytes, list[int]] = field(default_factory=dict)
    acknowledged: list[bytes] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def ended(self, outcome: str) -> list[bytes]:
        """Ids of the tasks whose submits ended so."""
        return [task_id for task_id, one in self.submits.items() if one.outcome == outcome]
