"""What the broker acknowledged, and whatever it did that it must not do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

VIOLATIONS_KEPT = 50
"""More of them say nothing new."""


@dataclass
class History:
    """Written by submitters and workers as answers come, read by the judge at the end."""

    acknowledged: dict[bytes, str] = field(default_factory=dict)
    """task id -> task type, of every submit that was answered with success"""
    doubtful: dict[bytes, str] = field(default_factory=dict)
    """the same of submits given up after an unknown outcome: each exists as it should or not at all"""
    doubtful_batches: list[tuple[bytes, ...]] = field(default_factory=list)
    """of those, what went together: all or none"""
    ordered: list[tuple[int, int, bytes]] = field(default_factory=list)
    """(-priority, position, task id) of the tasks whose order is checked, in the order they were acknowledged"""
    unique: dict[str, bytes] = field(default_factory=dict)
    """unique key -> the task that was acknowledged for it"""
    due_ms: dict[bytes, int] = field(default_factory=dict)
    """task id -> the time before which it must not be handed out"""
    completed: dict[bytes, bytes] = field(default_factory=dict)
    """task id -> result, of every completion that was acknowledged to the exact worker"""
    tokens: dict[bytes, int] = field(default_factory=dict)
    """task id -> the fencing token of its latest delivery to the exact worker"""
    counts: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)
    """seconds from exec to ready, of every start that was left alone for so long"""
    violations: list[str] = field(default_factory=list)

    def violated(self, text: str) -> None:
        self.counts["violations"] += 1
        if len(self.violations) < VIOLATIONS_KEPT:
            self.violations.append(text)
