"""What the parts of one broker measure, read when somebody asks: nothing here runs while nobody scrapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from tq import exposition
from tq.broker.measures import LogMeasures, Measures, StoreMeasures
from tq.broker.metrics import families
from tq.broker.observe import Observer
from tq.version import VERSION

CONTENT_TYPE = exposition.CONTENT_TYPE
"""What `Exporter.render` gives."""


class Exporter(Collector):
    """Only the event loop's thread may call it: it reads what others own, between their turns."""

    def __init__(
        self,
        backend: Callable[[], Measures],
        log: Callable[[], LogMeasures],
        observer: Observer,
        *,
        node_id: str,
        stores: Callable[[], StoreMeasures] | None = None,
    ) -> None:
        """stores: of a backend on foreign stores."""
        self._backend = backend
        self._log = log
        self._observer = observer
        self._node_id = node_id
        self._stores = stores
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def render(self) -> bytes:
        """Everything in Prometheus' plain text format, `CONTENT_TYPE`."""
        return exposition.render(self.registry)

    def render_for(self, accept: str) -> exposition.Page:
        """The same in the format that the header `Accept` prefers, with its content type."""
        return exposition.page_for(self.registry, accept)

    def describe(self) -> list[Metric]:
        """Registering it must not ask a broker that is not running yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield from families.of_backend(self._backend())
        yield from families.of_log(self._log())
        yield from families.of_observer(self._observer)
        if self._stores is not None:
            yield from families.of_stores(self._stores())
        yield families.build(VERSION, self._node_id)
