"""The blocking client: submit, wait, look at a failure. Needs a broker and a worker with the built-in handlers:

tq-broker &
tq-worker --broker-addr 127.0.0.1:6379 &
python examples/client_basics.py
"""

from __future__ import annotations

import sys

from tq import Client, OutcomeUnknown, Priority, Task, TaskFailed


def main(addresses: str) -> None:
    with Client(addresses) as client:
        task_id = client.submit_task("echo", b"hello", Priority.HIGH)
        print("one:", client.wait_for_result(task_id, timeout="30s"))

        task_ids = client.submit_tasks(Task("echo", str(number).encode()) for number in range(1000))
        print("many:", len(set(client.wait_for_results(task_ids, timeout="60s"))), "results")

        failing = client.submit_task("fail", b"on purpose", max_retries=0)
        try:
            client.wait_for_result(failing, timeout="30s")
        except TaskFailed as error:
            print("failed as it should:", str(error).splitlines()[0])

        later = client.submit_task("echo", b"never", delay="1h")
        print("cancelled:", client.cancel_task(later), "-", client.get_task(later).state_reason)

        try:
            client.submit_task("echo", b"x", call_timeout="5s")
        except OutcomeUnknown as error:
            print("may have happened; submit again with the id it names:", error)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:6379")
