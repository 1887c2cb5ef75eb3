"""Reads the fields of one message that need reading, and remembers what is wrong with each: the caller is told all of it."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from tq.broker.api.grpc.ids import read_id
from tq.errors import BadRequest, TqError
from tq.protocol.limits import TIME_MS_MAX
from tq.protocol.validate import FAULTS_SHOWN_MAX, check_request
from tq.verbs import Request

NUMBER_MAX = 2.0**53
"""From here on arithmetic loses whole numbers; no bound is anywhere near."""

R = TypeVar("R", bound=Request)


class Findings:
    """A field that is wrong is noted and read as something harmless, until `tell` or `check`."""

    def __init__(self) -> None:
        self._wrong: list[str] = []

    def wrong(self, field: str, text: str) -> None:
        if len(self._wrong) < FAULTS_SHOWN_MAX:
            self._wrong.append(f"{field}: {text}")

    def id(self, text: str, field: str) -> bytes:
        """The 16 bytes of an id; none when the text is no id."""
        try:
            return read_id(text, field)
        except BadRequest as error:
            self._wrong.append(error.text)
            return b""

    def ms(self, number: float, field: str, high_ms: int, *, low_ms: int = 0) -> int:
        """Seconds as whole milliseconds, or anything else as thousandths."""
        # The first comparison is false for NaN; rounding infinity would raise.
        if -NUMBER_MAX < number < NUMBER_MAX and low_ms <= (found := round(number * 1000)) <= high_ms:
            return found
        self.wrong(field, f"{number:g} is out of range; {low_ms / 1000:g} to {high_ms / 1000:g}")
        return low_ms

    def moment(self, moment: Timestamp, field: str) -> int:
        """Wall time in milliseconds; up to a millisecond earlier than said."""
        ms = moment.seconds * 1000 + moment.nanos // 1_000_000
        if 0 < ms <= TIME_MS_MAX:
            return ms
        self.wrong(field, "not between 1970 and 9999")
        return 0

    def tell(self) -> None:
        """Raises BadRequest when anything was wrong."""
        if self._wrong:
            raise BadRequest("; ".join(self._wrong))

    def check(self, request: R) -> R:
        """The request with its bounds checked, too. Raises BadRequest, PayloadTooLarge when that is all that is wrong."""
        try:
            checked = check_request(request)
        except TqError as error:
            raise self.error(error) from None
        self.tell()
        return checked

    def error(self, further: TqError) -> TqError:
        """What was found, and what somebody else found further."""
        return BadRequest("; ".join([*self._wrong, further.text])) if self._wrong else further
