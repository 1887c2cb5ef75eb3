"""Who may do what."""

from __future__ import annotations

from typing import get_args

import pytest

from tq.broker.access import PERMISSION_OF, OpenAccess, Permission, Principal, denial, principal
from tq.errors import AuthenticationFailed
from tq.verbs import Backup, Cancel, GetHealth, GetTask, Ping, Purge, Register, Request, Settle, Submit

VERBS = set(get_args(Request))


def test_every_verb_has_a_decision() -> None:
    assert PERMISSION_OF.keys() == VERBS


def test_admin_may_send_every_verb() -> None:
    assert principal("root", [Permission.ADMIN]).verbs == VERBS


@pytest.mark.parametrize(
    ("permission", "may", "may_not"),
    [
        (Permission.SUBMIT_TASKS, Submit, GetTask),
        (Permission.READ_TASKS, GetTask, Cancel),
        (Permission.CANCEL_TASKS, Cancel, Submit),
        (Permission.WORK_TASKS, Settle, Purge),
        (Permission.WORK_TASKS, Register, Backup),
    ],
)
def test_a_permission_opens_its_verbs_and_no_others(
    permission: Permission, may: type[Request], may_not: type[Request]
) -> None:
    verbs = principal("key", [permission]).verbs

    assert may in verbs
    assert may_not not in verbs


def test_a_key_without_permissions_may_only_ask_whether_the_broker_is_there() -> None:
    assert principal("key", []).verbs == {Ping, GetHealth}


def test_a_verb_without_a_decision_is_denied_even_to_admin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(PERMISSION_OF, Submit)

    assert Submit not in principal("root", [Permission.ADMIN]).verbs


def test_a_denial_names_the_verb_and_the_missing_permission() -> None:
    text = denial(principal("ci", []), Cancel).text

    assert "ci" in text
    assert "Cancel" in text
    assert "cancel_tasks" in text


def test_without_authentication_everybody_is_the_anonymous_admin() -> None:
    verdicts: list[Principal | AuthenticationFailed] = []

    OpenAccess().authenticate("", verdicts.append)

    assert verdicts == [principal("anonymous", [Permission.ADMIN])]
