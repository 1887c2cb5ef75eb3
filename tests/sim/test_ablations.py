"""Each mitigation of the production code is needed: without it a seed fails, or a scene does. See `ablations`."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from tests.sim.ablations import ABLATIONS, Ablation, Scene, Seeds
from tests.sim.run import run

MITIGATIONS = (
    {f"M{number}" for number in range(1, 11)}
    | {f"J{number}" for number in range(1, 11)}
    | {f"Z{number}" for number in range(1, 7)}
    | {f"D{number}" for number in range(1, 11)}
    | {f"O{number}" for number in range(1, 10)}
    | {"ID1", "ID2", "ID3"}
)
NOT_NOTICED = (NameError, AttributeError, TypeError, LookupError)
"""What a change that went wrong by itself would raise: it proves nothing."""


def name_of(ablation: Ablation) -> str:
    return f"{ablation.codes}-{ablation.name}".replace(" ", "-")


SCENES = [ablation for ablation in ABLATIONS if isinstance(ablation.trap, Scene)]
SEEDS = [ablation for ablation in ABLATIONS if isinstance(ablation.trap, Seeds)]


def test_every_mitigation_can_be_switched_off() -> None:
    covered = {code for ablation in ABLATIONS for code in ablation.codes.split()}

    assert sorted(MITIGATIONS - covered) == []


@pytest.mark.parametrize("ablation", SCENES, ids=map(name_of, SCENES))
def test_without_the_mitigation_a_scene_does_not_hold(
    ablation: Ablation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(ablation.trap, Scene)
    test, arguments, by = ablation.trap
    fixtures = {"tmp_path": tmp_path, "monkeypatch": monkeypatch}
    settings = {name: fixtures[name] for name in fixtures if name in inspect.signature(test).parameters}
    error = None
    with ablation.in_force():
        try:
            test(**arguments, **settings)
        except (Exception, pytest.fail.Exception) as raised:  # noqa: BLE001 - whatever shows it
            error = raised

    assert error is not None, "nothing noticed it"
    assert isinstance(error, by) if by is not None else not isinstance(error, NOT_NOTICED), repr(error)


@pytest.mark.parametrize("ablation", SEEDS, ids=map(name_of, SEEDS))
def test_without_the_mitigation_a_seed_fails(ablation: Ablation) -> None:
    trap = ablation.trap
    assert isinstance(trap, Seeds)
    seen = []
    for schedule in trap.schedules():
        report = run(schedule, ablation.make(), to_first=True)
        if report.kinds[trap.sign]:
            return
        seen.append(sorted(report.kinds))
    pytest.fail(f"not noticed: {seen}")
