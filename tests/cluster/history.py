"""What the cluster acknowledged, what was done to it, and whatever it did that it must not do."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

VIOLATIONS_KEPT = 50
"""More of them say nothing new."""


@dataclass
class History:
    """Written while the campaign runs, read by the judge at its end. Task ids as 16 bytes."""

    told: Callable[[str], None]
    """where the course of the campaign and every violation is told as it happens"""
    acknowledged: set[bytes] = field(default_factory=set)
    """every task whose submit was answered with success"""
    doubtful: set[bytes] = field(default_factory=set)
    """outcome unknown, and not repeated: each exists and ends, or never existed"""
    doubtful_batches: list[tuple[bytes, ...]] = field(default_factory=list)
    """of those, what went together: all or none"""
    refused: set[bytes] = field(default_factory=set)
    """said not to have happened, and not repeated: none may exist"""
    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    recoveries: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """fault -> seconds until a submit was acknowledged, each time it struck: from the moment it struck where it left
    a majority, else from its end"""
    violations: list[str] = field(default_factory=list)

    def violated(self, text: str) -> None:
        self.counts["violations"] += 1
        self.told(f"violated: {text}")
        if len(self.violations) < VIOLATIONS_KEPT:
            self.violations.append(text)
