"""A cluster of real broker processes on one machine, for tests: started, killed, wiped, asked over their doors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from lab.ports import ReservedPort
from lab.processes import Process, program, wait_until

SECRET = "not a secret but long enough to be one"
NAMES = ("n1", "n2", "n3")
ANSWER_SECONDS = 60.0


class Brokers:
    """n1, n2 and n3, running. `names` may be more than are started at once, for those that join later.

    settings: YAML lines of every node's file, beside what makes it a member.
    """

    def __init__(
        self,
        directory: Path,
        stack: ExitStack,
        *,
        names: Sequence[str] = NAMES,
        first: Sequence[str] = NAMES,
        settings: str = "",
        as_list: bool = False,
    ) -> None:
        self._directory = directory
        self._stack = stack
        self._first = first
        self._settings = settings
        self._as_list = as_list
        # Nodes name each other's ports before they start, and come back to their own.
        self._tcp = {name: stack.enter_context(ReservedPort()).number for name in names}
        self._raft = {name: stack.enter_context(ReservedPort()).number for name in names}
        self.running = {name: self.start(name) for name in first}
        for broker in self.running.values():
            broker.wait_for_event("ready")

    @property
    def addresses(self) -> str:
        """Where clients may go, for all that were ever named."""
        return ",".join(map(self.tcp, self._tcp))

    def tcp(self, name: str) -> str:
        return f"127.0.0.1:{self._tcp[name]}"

    def raft(self, name: str) -> str:
        return f"127.0.0.1:{self._raft[name]}"

    def data(self, name: str) -> Path:
        return self._directory / name / "data"

    def start(self, name: str, *, join: bool = False) -> Process:
        home = self._directory / name
        home.mkdir(exist_ok=True)
        others = [node for node in self._first if node != name]
        peers = ", ".join(
            f"'{self.raft(node)}'" if self._as_list else f"{node}: '{self.raft(node)}'" for node in others
        )
        peers = f"[{peers}]" if self._as_list else f"{{{peers}}}"
        (home / "tq.yaml").write_text(
            f"broker: {{host: 127.0.0.1, port: {self._tcp[name]}}}\n"
            f"persistence: {{data_dir: {home / 'data'}}}\n"
            f"raft: {{enabled: true, node_id: {name}, bind: '{self.raft(name)}', join: {str(join).lower()}, "
            f"peers: {peers}, secret: {SECRET}}}\n"
            f"api: {{rest_port: 0, grpc_port: 0}}\n{self._settings}"
        )
        command = [program("tq-broker"), "--config", str(home / "tq.yaml")]
        broker = self._stack.enter_context(Process(command, log_path=home / "log"))
        self.running = {**getattr(self, "running", {}), name: broker}
        return broker

    def restart(self, name: str) -> Process:
        """Start it again and wait until it serves."""
        broker = self.start(name)
        broker.wait_for_event("ready")
        return broker

    def kill(self, name: str) -> None:
        self.running[name].kill()

    # ------------------------------------------------------------ who leads

    def leader(self) -> str:
        """The node that became leader in the highest term, once there is one that runs."""

        def leading() -> str | None:
            found = []
            for name, broker in self.running.items():
                roles = [event for event in broker.events() if event.get("event") == "raft_role"]
                if broker.is_running and roles and roles[-1]["role"] == "leader":
                    found.append((roles[-1]["term"], name))
            return str(max(found)[1]) if found else None

        return str(wait_until(leading, ANSWER_SECONDS, what=lambda: "a leader"))

    def followers(self) -> list[str]:
        leader = self.leader()
        return [name for name, broker in self.running.items() if broker.is_running and name != leader]

    # ------------------------------------------------------------ over HTTP

    def door(self, name: str, door: str) -> str:
        """host:port of one of a node's doors: rest, grpc."""
        broker = self.running[name]
        broker.wait_for_event("ready")
        # One that took over a snapshot has begun again, with other ports.
        ready = [event for event in broker.events() if event.get("event") == "ready"]
        addresses = ready[-1]["addresses"]
        assert isinstance(addresses, dict)
        return str(addresses[door])

    def ask(self, name: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """(HTTP status, document) of a REST call at this node."""
        data = None if body is None else json.dumps(body).encode()
        url = f"http://{self.door(name, 'rest')}/api/v1{path}"
        request = Request(url, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310  our own broker
                return answer.status, _document(answer.read())
        except HTTPError as error:
            return error.code, _document(error.read())

    def members(self, name: str) -> dict[str, dict[str, Any]]:
        """What this node says of all nodes, by node id."""
        _, document = self.ask(name, "GET", "/cluster")
        return {member["node_id"]: member for member in document["members"]}

    def until_role(self, at: str, name: str, *roles: str) -> dict[str, Any]:
        """Wait until the node at `at` sees `name` in one of these roles."""

        def has_it() -> dict[str, Any] | None:
            member = self.members(at).get(name)
            return member if member is not None and member["role"] in roles else None

        return wait_until(
            has_it, ANSWER_SECONDS, what=lambda: f"{name} as {roles}: {self.members(at)}", every=0.1
        )


def _document(body: bytes) -> Any:
    return json.loads(body) if body else None
