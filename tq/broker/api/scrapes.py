"""Who may scrape the metrics at their own port: with keys on, whoever may read tasks, as at the REST port."""

from __future__ import annotations

from http import HTTPStatus

from tq.broker.access import denial
from tq.broker.api.recognition import bearer_of, recognise
from tq.broker.api.status_map import status_of
from tq.broker.observe import Observer
from tq.broker.service import Service
from tq.errors import TqError
from tq.exposition import REQUEST_WAIT_S, Refusal
from tq.logs import get_logger
from tq.verbs import GetStats

_log = get_logger("metrics")


class ScrapeGate:
    """A `tq.exposition.Gate` over the broker's keys."""

    def __init__(self, service: Service, observer: Observer) -> None:
        self._service = service
        self._observer = observer

    async def __call__(self, authorization: str, address: str) -> Refusal | None:
        try:
            # An answer that comes later than the request may take would find the connection closed.
            who = await recognise(
                self._service, bearer_of(authorization), address, wait_s_max=REQUEST_WAIT_S / 2
            )
            if GetStats not in who.verbs:
                raise denial(who, GetStats)
        except TqError as error:
            self._observer.rejections[error.code] += 1
            _log.debug("request_refused", error.text, code=error.code)
            return Refusal(HTTPStatus(status_of(error).http), error.text)
        return None
