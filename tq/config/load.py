"""From file, environment and flags to a configuration, with every problem on the way collected."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from tq.config import rules
from tq.config.document import read_document
from tq.config.models import BrokerConfig, File, RaftSection, WorkerConfig
from tq.config.problems import ConfigProblems, Place, Problem, problem_at
from tq.config.settings import Flag, flags_of
from tq.config.values import Wrong
from tq.config.walk import Found, Path, Walk

_Config = TypeVar("_Config", BrokerConfig, WorkerConfig)

FILE_VARIABLE = "TQ_CONFIG"
_NO_FLAGS: Mapping[str, object] = {}


def load_broker(
    file: str | None = None, env: Mapping[str, str] | None = None, flags: Mapping[str, object] = _NO_FLAGS
) -> BrokerConfig:
    """The broker's configuration.

    file: None = the one TQ_CONFIG names, or none at all. env: usually os.environ.
    flags: flag name without dashes -> its value as text or typed; None, or False for a switch, = not given.
    Raises ConfigProblems with everything that is wrong. A section that is not the broker's (`worker`) is checked
    too, save that its variables need not be set here.
    """
    config = _load(BrokerConfig, file, env or {}, flags, rules.for_broker)
    return dataclasses.replace(config, raft=_without_itself(config.raft))


def load_worker(
    file: str | None = None, env: Mapping[str, str] | None = None, flags: Mapping[str, object] = _NO_FLAGS
) -> WorkerConfig:
    """The worker's configuration; as `load_broker`, from a file of its own or the broker's."""
    return _load(WorkerConfig, file, env or {}, flags, rules.for_worker)


def _load(
    model: type[_Config],
    file: str | None,
    env: Mapping[str, str],
    flags: Mapping[str, object],
    check: Callable[[_Config, Mapping[Path, Place]], Iterator[rules.Finding]],
) -> _Config:
    file = file or env.get(FILE_VARIABLE) or None
    own = frozenset(field.name for field in dataclasses.fields(model))
    found = Walk(file, env, own).document(File, read_document(file)) if file else Found()
    _overlay(found, flags_of(model), env, flags)
    _imply(found)
    config = _build(model, (), found.values)
    for finding in check(config, found.places):
        # What could not be read has been reported; what follows from its default would only mislead.
        if not found.bad.intersection(finding.reads):
            written = [found.places[path] for path in finding.reads if path in found.places]
            place = written[0] if written else Place(file or "defaults")
            found.problems.append(problem_at(place, ".".join(finding.reads[0]), finding.text, finding.remedy))
    if found.problems:
        raise ConfigProblems(found.problems)
    return config


def _overlay(
    found: Found, known: Mapping[str, Flag], env: Mapping[str, str], flags: Mapping[str, object]
) -> None:
    """Put the environment over the file, and the flags over both."""
    unknown = flags.keys() - known.keys()
    if unknown:
        raise ValueError(f"no setting has the flag {', '.join(sorted(unknown))}")
    for flag in known.values():
        # An empty variable is how compose files and shells say "not set".
        if env.get(flag.variable):
            _put(found, flag, env[flag.variable], Place("environment"), flag.variable)
        given = flags.get(flag.name)
        if given is not None and not (flag.setting.switch and given is False):
            _put(found, flag, _as_text(given), Place("command line"), f"--{flag.name}")


def _put(found: Found, flag: Flag, text: str, place: Place, name: str) -> None:
    try:
        found.values[flag.path] = flag.setting.kind.read(text)
    except Wrong as wrong:
        found.bad.add(flag.path)
        found.problems.append(_flag_problem(wrong, text, place, name))
        return
    found.places[flag.path] = place


def _imply(found: Found) -> None:
    """Values that follow from others that were given."""
    certificate = found.places.get(("api", "tls_cert_path"))
    if certificate is not None and certificate.line == 0:
        # Somebody who names a certificate beside the file means to use it.
        found.values["api", "enable_tls"] = True
    stores = (("backend", "stackduck"), ("backend", "redis_url"), ("backend", "database_url"))
    if any(path in found.places for path in stores):
        found.values.setdefault(("backend", "kind"), "stackduck")


def _flag_problem(wrong: Wrong, text: str, place: Place, name: str) -> Problem:
    if name == "TQ_PORT" and text.startswith(("tcp://", "udp://")):
        remedy = "Kubernetes sets this for a Service called tq: set enableServiceLinks: false, or rename the Service"
        return problem_at(place, name, wrong.text, remedy)
    return problem_at(place, name, wrong.text, wrong.remedy)


def _without_itself(raft: RaftSection) -> RaftSection:
    """One file may serve every node: each finds itself among the peers, and is not its own peer."""
    own = raft.advertise or raft.bind
    return dataclasses.replace(raft, peers=tuple(peer for peer in raft.peers if peer.address != own))


def _as_text(given: object) -> str:
    return ",".join(str(each) for each in given) if isinstance(given, list | tuple) else str(given)


def _build(model: type[_Config], path: Path, values: Mapping[Path, object]) -> _Config:
    """A model with what was found, and its defaults for the rest."""
    given: dict[str, Any] = {}
    for field in dataclasses.fields(model):
        here = (*path, field.name)
        if "section" in field.metadata:
            given[field.name] = _build(field.metadata["section"], here, values)
        elif here in values:
            given[field.name] = values[here]
    return model(**given)
