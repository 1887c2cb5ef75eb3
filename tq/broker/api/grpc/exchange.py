"""A call that is one verb, there and back, in callbacks: the way of most calls, and of all that come by the thousand.

A task, two futures and their turns of the loop are a third of what a submit costs here, and a good part of how long a
single one takes. What waits or streams is a coroutine (`calls`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from google.protobuf.message import Message

from tq.broker.access import Principal, denial
from tq.broker.api.grpc.call import Call, Prompt
from tq.broker.api.grpc.calls import Calls, M, address_of, headers_of, parse, token_of
from tq.broker.service import Caller
from tq.errors import TqError
from tq.verbs import Reply, Request


class Errand(NamedTuple):
    """What takes more than one verb, or one of another peer. begin: gets the caller, and tells once how it ended, at once
    or later; it must not raise."""

    begin: Callable[[Caller, Callable[[Any], None]], None]


R = TypeVar("R", bound="Request | Errand")

Ask: TypeAlias = "Callable[[M, Mapping[str, str]], R | Message]"
Tell: TypeAlias = "Callable[[R, Any], Message]"
Excuse: TypeAlias = Callable[[TqError], "Message | None"]


def exchange(
    calls: Calls,
    kind: type[M],
    ask: Ask[M, R],
    tell: Tell[R],
    *,
    needs: type[Request] | None = None,
    excuse: Excuse | None = None,
) -> Prompt:
    """The handler.

    ask: from the message and the call's metadata to the verb or errand, or to the answer if that is known already; raises
    TqError. tell: from the verb and its reply to the answer. needs: a verb that the caller may send, or the call is refused
    before `ask`. excuse: the answer, status OK, to a failure of the verb; None for those that are a status all the same.
    """

    def begin(call: Call, data: bytes) -> None:
        _Exchange(calls, call, len(data), ask, tell, needs, excuse).begin(kind, data)

    return Prompt(begin)


class _Exchange(Generic[M, R]):
    """One call."""

    __slots__ = (
        "_address",
        "_ask",
        "_asked",
        "_call",
        "_calls",
        "_excuse",
        "_headers",
        "_needs",
        "_size",
        "_tell",
        "_verb",
    )

    def __init__(
        self,
        calls: Calls,
        call: Call,
        size: int,
        ask: Ask[M, R],
        tell: Tell[R],
        needs: type[Request] | None,
        excuse: Excuse | None,
    ) -> None:
        self._calls, self._call, self._size = calls, call, size
        self._ask, self._tell, self._needs, self._excuse = ask, tell, needs, excuse
        self._asked: M
        self._verb: R
        self._headers: Mapping[str, str] = {}
        self._address = ""

    def begin(self, kind: type[M], data: bytes) -> None:
        self._calls.take(self._size)
        try:
            self._asked = parse(kind, data, self._calls)
            self._headers = headers_of(self._call)
            self._address = address_of(self._call)
        except TqError as error:
            self._refuse(error)
            return
        self._calls.service.authenticate(token_of(self._headers), self._known, self._address)

    def _known(self, who: Principal | TqError) -> None:
        if isinstance(who, TqError):
            self._refuse(who)
            return
        try:
            if self._needs is not None and self._needs not in who.verbs:
                raise denial(who, self._needs)
            verb = self._ask(self._asked, self._headers)
        except TqError as error:
            self._refuse(error)
            return
        except Exception as error:  # noqa: BLE001  the top of a call
            self._confess(error)
            return
        if isinstance(verb, Message):
            self._answer(verb)
            return
        self._verb = verb
        caller = Caller(self._calls.silent, who, self._address)
        if isinstance(verb, Errand):
            verb.begin(caller, self._replied)
        else:
            self._calls.service.handle(caller, verb, self._replied)

    def _replied(self, reply: Reply | Exception) -> None:
        """Called by the engine, which takes what is raised for its own defect."""
        try:
            if not isinstance(reply, Exception):
                self._answer(self._tell(self._verb, reply))
            elif not isinstance(reply, TqError):
                self._confess(reply)
            elif self._excuse is not None and (excuse := self._excuse(reply)) is not None:
                self._answer(excuse)
            else:
                self._refuse(reply)
        except Exception as error:  # noqa: BLE001  the top of a call
            self._confess(error)

    def _answer(self, message: Message) -> None:
        data = message.SerializeToString()
        self._calls.give_back(self._size)
        self._call.answer(data)

    def _refuse(self, error: TqError) -> None:
        self._calls.give_back(self._size)
        self._calls.refuse(self._call, error)

    def _confess(self, error: Exception) -> None:
        self._calls.give_back(self._size)
        self._calls.confess(self._call, error)
