"""`python -m tests.stackduck --rounds 50`: the fault campaign, so many rounds of each kind."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from tests.stackduck.faults import Campaign


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    asked = parser.parse_args()
    print(f"seed {asked.seed}")
    with tempfile.TemporaryDirectory(prefix="tq-stackduck-") as directory:
        verdict = asyncio.run(Campaign(Path(directory), random.Random(asked.seed)).run(asked.rounds, print))
    print(verdict)
    return int(not verdict.is_fine)


if __name__ == "__main__":
    sys.exit(main())
