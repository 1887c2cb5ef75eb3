"""The examples of docs/rustq.md run as they stand there, with the addresses filled in."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from tests.rustq.places import Deployment

PAGE = Path(__file__).parents[2] / "docs" / "rustq.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_first_example_works_a_job_off_and_the_other_adds_one_to_a_broker(
    deployment: Deployment, broker: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (
        textwrap.dedent(example)
        .replace('"mail"', repr(deployment.name))
        .replace("tq://BROKER", f"tq://{broker}")
        for example in EXAMPLES
    )
    scope: dict[str, object] = {"REDIS_URL": deployment.redis_url, "AMQP_URL": deployment.amqp_url}

    exec(compile(first, "docs/rustq.md", "exec"), scope)
    exec(compile(second, "docs/rustq.md", "exec"), scope)

    assert capsys.readouterr().out == "Completed\n"
