"""A real broker that was away for so long that the others have forgotten the entries it lacks."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from lab.processes import wait_until
from tests.replication.brokers import ANSWER_SECONDS, Brokers
from tq import Client, Task

PAYLOAD = b"x" * 1_200_000
BATCH, BATCHES = 10, 8
"""Of these entries the log keeps 64 MiB; trimming takes 16 MiB more than that."""


def test_node_that_lacks_what_the_log_has_forgotten_is_given_a_snapshot(tmp_path: Path) -> None:
    with ExitStack() as stack:
        brokers = Brokers(tmp_path, stack)
        client = stack.enter_context(Client(brokers.addresses))
        first = client.submit_task("echo", b"before")
        leader, (away, _) = brokers.leader(), brokers.followers()
        brokers.kill(away)
        ids = [client.submit_tasks([Task("echo", PAYLOAD)] * BATCH)[0] for _ in range(BATCHES)]

        def forgot() -> bool | None:
            return brokers.members(leader)[leader]["first_index"] > 2 or None

        wait_until(forgot, ANSWER_SECONDS, what=lambda: str(brokers.members(leader)), every=0.2)
        brokers.start(away).wait_for_event("ready")

        def caught_up() -> bool | None:
            member = brokers.members(leader)[away]
            return (member["role"] == "follower" and member["lag"] == 0) or None

        wait_until(caught_up, 2 * ANSWER_SECONDS, what=lambda: str(brokers.members(leader)), every=0.2)
        assert brokers.members(leader)[leader]["snapshot_age_ms"] is not None
        # It began again with the snapshot in the place of its store, and knows what was before and since.
        starts = [event for event in brokers.running[away].events() if event.get("event") == "starting"]
        assert len(starts) == 2
        for task_id in (first, ids[0], ids[-1]):
            status, task = brokers.ask(away, "GET", f"/tasks/{task_id}?consistency=local&with_payload=true")
            assert (status, task["status"]) == (200, "pending")
