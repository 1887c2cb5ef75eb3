"""The async client: many tasks at once, and their results as they come. Needs a broker and a worker as client_basics."""

from __future__ import annotations

import asyncio
import sys

from tq import AsyncClient

IN_FLIGHT = 200


async def main(addresses: str) -> None:
    async with AsyncClient(addresses) as client:

        async def ask(number: int) -> bytes:
            task_id = await client.submit_task("echo", str(number).encode())
            return await client.wait_for_result(task_id, timeout="30s")

        results = await asyncio.gather(*[ask(number) for number in range(IN_FLIGHT)])
        print(len(results), "results, the last is", results[-1].decode())
        stats = await client.stats()
        print("pending now:", stats.pending_count, "- completed in the last hour:", stats.completed_last_hour)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:6379"))
