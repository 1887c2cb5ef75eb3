"""What the owner of a log is told only when it has changed: whether this node leads, and who the members are."""

from __future__ import annotations

from collections.abc import Callable

from tq.broker.replication.membership import Configuration


class Lookout:
    def __init__(
        self,
        members: Configuration,
        *,
        on_lead: Callable[[bool], None],
        on_members: Callable[[Configuration], None] | None,
    ) -> None:
        """members: those that are known already."""
        self._leads = False
        self._members = members
        self._on_lead = on_lead
        self._on_members = on_members

    def look(self, *, leads: bool, members: Configuration) -> None:
        if leads != self._leads:
            self._leads = leads
            self._on_lead(leads)
        if members is not self._members:
            self._members = members
            if self._on_members is not None:
                self._on_members(members)
