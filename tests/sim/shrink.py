"""Finds the few faults of a failing schedule that are enough to make it fail: delta debugging (Zeller's ddmin)."""

from __future__ import annotations

from collections.abc import Callable

RUNS_MAX = 120
"""Schedules tried; what is found by then is returned."""


def shrink(count: int, fails: Callable[[list[int]], bool], *, runs_max: int = RUNS_MAX) -> list[int]:
    """The positions, of 0 to count - 1, of which none can be left out.

    fails: whether the schedule with only these positions still fails; all together are known to.
    """
    kept = list(range(count))
    parts = 2
    runs = 0
    if runs_max and fails([]):
        return []
    while len(kept) >= 2 and runs < runs_max:
        smaller = None
        for candidate in _candidates(kept, parts):
            runs += 1
            if fails(candidate):
                smaller = candidate
                break
            if runs >= runs_max:
                break
        if smaller is not None:
            parts = max(parts - 1, 2) if len(smaller) > len(kept) // parts + 1 else 2
            kept = smaller
        elif parts >= len(kept):
            break
        else:
            parts = min(parts * 2, len(kept))
    return kept


def _candidates(kept: list[int], parts: int) -> list[list[int]]:
    """Each part alone, then all but each part."""
    bounds = [len(kept) * number // parts for number in range(parts + 1)]
    pieces = [kept[bounds[number] : bounds[number + 1]] for number in range(parts)]
    rests = [kept[: bounds[number]] + kept[bounds[number + 1] :] for number in range(parts)]
    return pieces + rests if parts > 2 else pieces
