"""The production core, journal, engine parts and machine under faults: no seed may violate anything.

These are few and short; `make sim SEEDS=1000` runs more.
"""

from __future__ import annotations

import pytest

from tests.sim.hardened import HARDENED
from tests.sim.run import Report, run
from tests.sim.schedule import (
    DISK_FAULTS,
    LEADER,
    NETWORK_FAULTS,
    Fault,
    Options,
    Schedule,
    from_seed,
)

SECONDS = 7.0
"""Of faults, in each run."""
SEEDS_TO_COVER = range(1, 9)


def check(report: Report) -> None:
    assert not report.violations, "\n".join(
        [f"seed {report.schedule.seed}, {report.schedule.options}"]
        + [str(fault) for fault in report.schedule.faults]
        + [str(violation) for violation in report.violations]
    )


@pytest.mark.parametrize("seed", range(1, 11))
def test_nothing_is_violated_whatever_happens(seed: int) -> None:
    check(run(from_seed(seed, seconds=SECONDS), HARDENED))


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("network", NETWORK_FAULTS),
        ("disks", DISK_FAULTS | {"slow_disk"}),
        ("processes", {"kill", "kill_all", "pause", "pause_kill", "worker_death"}),
        ("operators", {"compact", "transfer", "remove_node", "clock_step"}),
    ],
    ids=["network", "disks", "processes", "operators"],
)
def test_nothing_is_violated_by_one_sort_of_fault(name: str, kinds: set[str]) -> None:
    check(run(from_seed(100 + len(name), seconds=SECONDS, kinds=kinds), HARDENED))


def test_node_that_reads_how_its_leader_was_made_an_observer_still_follows_it() -> None:
    """Messages end between the entry by which the leader began anew and the one by which it voted again: who took the
    first one in did not hear the leader any more, and stood still for ever."""
    schedule = from_seed(76, seconds=14.0, kinds=("lose_disk", "flip_bit", "transfer", "kill"))
    options = schedule.options._replace(batch_bytes=16_000, compact_entries=5_000)
    check(run(schedule._replace(options=options), HARDENED))


@pytest.mark.parametrize("seed", [5, 8, 12])
def test_node_that_begins_anew_follows_a_leader_that_did_so_twice(seed: int) -> None:
    """It reads of disks of its leader that are gone, and refused the one that is there for ever."""
    faults = (
        Fault(3.0, "lose_disk", 0, 1, 0.2),
        Fault(5.5, "lose_disk", 0, 1, 0.2),
        Fault(8.0, "transfer", LEADER, 0, 1.0),
        Fault(8.7, "transfer", LEADER, 0, 1.0),
        Fault(9.5, "lose_disk", 1, 2, 0.2),
    )
    options = Options(seconds=12.0, rate=5.0, batch_bytes=4_000, compact_entries=5_000)
    report = run(Schedule(seed, options, faults), HARDENED)

    check(report)
    assert report.coverage["disks replaced"] == 3


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_voter_that_was_away_while_a_peer_was_rebuilt_and_elected_follows_it(seed: int) -> None:
    """By its own log that peer has another disk: it refused the leader until another one led."""
    faults = (
        Fault(2.5, "isolate", 3, 0, 6.0),
        Fault(3.0, "lose_disk", 2, 1, 0.2),
        *(Fault(at, "transfer", LEADER, 2, 0.5) for at in (6.0, 6.8, 7.6)),
    )
    options = Options(nodes=5, seconds=9.0, rate=5.0, compact_entries=5_000)
    report = run(Schedule(seed, options, faults), HARDENED)

    check(report)
    assert report.coverage["disks replaced"] == 1


@pytest.mark.parametrize("seed", [4, 9, 10])
def test_voter_that_was_just_taken_in_is_elected_by_one_that_has_not_read_so(seed: int) -> None:
    """The one that took it in lost its disk: the two that are left are a majority, and elected nobody."""
    faults = (
        Fault(2.5, "remove_node", 2, 1, 0.1),
        Fault(2.8, "isolate", 2, 0, 1.4),
        Fault(3.95, "lose_disk", 0, 1, 0.6),
    )
    options = Options(seconds=4.6, rate=15.0, workers=1, batch_bytes=4_000, compact_entries=5_000)
    report = run(Schedule(seed, options, faults), HARDENED)

    check(report)
    assert report.coverage["disks replaced"] == 1


@pytest.mark.parametrize("victim", [LEADER, 1], ids=["made", "received"])
def test_flipped_bits_in_a_snapshot_are_noticed_and_whoever_needs_it_gets_another(victim: int) -> None:
    cut = (Fault(2.0, "isolate", 1, 0, 4.0), Fault(2.0, "isolate", 1, 2, 4.0))
    flips = tuple(Fault(6.0 + step / 20, "flip_snapshot", victim, 0, 0.0) for step in range(30))
    options = Options(seconds=9.0, rate=15.0, compact_entries=20, latency=(0.0005, 0.03))
    report = run(Schedule(1, options, cut + flips), HARDENED)

    check(report)
    assert report.coverage["damaged snapshots"] > 0
    assert report.coverage["snapshots installed"] > 0


@pytest.mark.parametrize("seed", [4, 6])
def test_no_task_waits_for_a_worker_that_did_not_notice_how_leadership_went_and_came_back(seed: int) -> None:
    """Who led between leased to its session, and told nobody: the worker has to come again and say what it holds."""
    faults = tuple(Fault(2.0 + 0.15 * step, "transfer", LEADER, 1 + step % 2, 1.0) for step in range(20))
    options = Options(seconds=5.5, rate=20.0, latency=(0.0005, 0.003))
    report = run(Schedule(seed, options, faults), HARDENED)

    check(report)
    assert report.coverage["transfers"] == len(faults)


def test_without_faults_one_leader_serves_to_the_end() -> None:
    report = run(from_seed(1, seconds=SECONDS, kinds=()), HARDENED)

    check(report)
    assert report.terms == 1
    assert report.counts["settled"] >= report.acknowledged > 50


@pytest.mark.parametrize(
    ("kinds", "wanted"),
    [
        (("compact", "isolate", "kill", "reset"), {"snapshots installed", "truncations", "late", "reads"}),
        (("transfer", "remove_node"), {"transfers", "membership changes"}),
    ],
    ids=["logs", "members"],
)
def test_runs_come_by_what_they_are_to_prove(kinds: tuple[str, ...], wanted: set[str]) -> None:
    missing = set(wanted)
    for seed in SEEDS_TO_COVER:
        schedule = from_seed(seed, seconds=SECONDS, kinds=kinds)
        options = schedule.options._replace(
            nodes=3, rate=40.0, compact_entries=20, latency=(0.0005, 0.03), is_late=True
        )
        report = run(schedule._replace(options=options), HARDENED)
        check(report)
        missing -= set(report.coverage) | set(report.counts)
        if not missing:
            return
    assert not missing
