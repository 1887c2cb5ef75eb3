"""An App with one task for each lane, sent and awaited. Needs a broker and a worker:

tq-broker &
tq-worker examples.worker_app:app &
python -m examples.worker_app
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from tq import App
from tq.worker.context import current
from tq.worker.control import Fatal
from tq.worker.options import Retry

app = App()


@app.task(name="greet", timeout="5s")
async def greet(name: str) -> str:
    """Waits for others: on the event loop."""
    await asyncio.sleep(0.1)
    return f"hello {name}"


@app.task(name="count_words", retry=Retry("fixed", base="1s"))
def count_words(path: str) -> int:
    """Plain code that blocks: in a thread."""
    if not Path(path).is_file():
        raise Fatal(f"there is no file {path}")
    current().progress(0.5, "reading")
    return len(Path(path).read_text().split())


@app.task(name="stretch", kind="process")
def stretch(password: str, rounds: int) -> str:
    """Computes: in a process, which uses a core of its own and can be stopped at any time."""
    return hashlib.pbkdf2_hmac("sha256", password.encode(), b"salt", rounds).hex()


def main() -> None:
    words = count_words.options(priority="high").send(__file__)
    missing = count_words.send("no such file")
    key = stretch.send("secret", 100_000)
    greetings = greet.send_many([(name,) for name in ("ann", "bob", "eve")])
    print("words:", words.result(timeout="30s"))
    print("key:", key.result(timeout="30s")[:16], "...")
    print("greetings:", [greeting.result(timeout="30s") for greeting in greetings])
    app.client.wait_for_tasks([missing.id], timeout="30s")
    print("missing:", missing.status(), "-", missing.info().error.splitlines()[0])
    app.close()


if __name__ == "__main__":
    main()
