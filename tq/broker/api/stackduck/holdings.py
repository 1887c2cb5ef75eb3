"""Which jobs are out, and by which session and token each can be settled: StackDuck's clients name a job by its id only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tq.broker.api.stackduck.taker import Taker


class Held(NamedTuple):
    """taker: whose session holds the lease. retry_count, max_retries, delay_s: of the job, as it was handed out."""

    taker: Taker
    token: int
    retry_count: int
    max_retries: int
    delay_s: int


class Holdings:
    """job id -> Held, for every job that is in the hands of a StackDuck client of this broker."""

    def __init__(self) -> None:
        self._held: dict[bytes, Held] = {}

    def add(self, job_id: bytes, held: Held) -> None:
        """The job is out; a lease from before is forgotten."""
        before = self._held.get(job_id)
        if before is not None:
            before.taker.tokens.pop(job_id, None)
        self._held[job_id] = held
        held.taker.tokens[job_id] = held.token

    def find(self, job_id: bytes) -> Held | None:
        return self._held.get(job_id)

    def drop(self, job_id: bytes, token: int) -> None:
        """The lease with this token is over. A later one of the same job stays."""
        held = self._held.get(job_id)
        if held is not None and held.token == token:
            del self._held[job_id]
            held.taker.tokens.pop(job_id, None)

    def forget(self, job_id: bytes) -> None:
        """Whoever had the job has it no more."""
        held = self._held.pop(job_id, None)
        if held is not None:
            held.taker.tokens.pop(job_id, None)

    def drop_all(self, items: Iterable[tuple[bytes, int]]) -> None:
        for job_id, token in items:
            self.drop(job_id, token)

    def __len__(self) -> int:
        return len(self._held)
