"""The page, the rules and the board name what is exported, no more and no less."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.checks.sources import ROOT, text_of
from tests.engine.harness import Engine, with_engine
from tests.metrics.scrapes import exporter_of
from tests.metrics.test_exporter import run_some
from tests.worker.harness import bench, run
from tq import exposition
from tq.broker.measures import DISK_BOUNDS_NS, Histogram, LogMeasures, StoreMeasures
from tq.broker.metrics.exporter import Exporter
from tq.broker.observe import Observer
from tq.verbs import GetTask
from tq.worker.app import App
from tq.worker.arguments import pack_arguments
from tq.worker.metrics import WorkerMetrics

ROW = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram) \| ([^|]*)\|", re.MULTILINE)
NAME = re.compile(r"\b(?:tq|process)_\w+")
RULES = ROOT / "deploy" / "prometheus" / "tq-rules.yml"
BOARD = ROOT / "deploy" / "grafana" / "tq.json"


class Described(NamedTuple):
    kind: str
    labels: frozenset[str]


def documented() -> dict[str, Described]:
    page = text_of(ROOT / "docs" / "metrics.md")
    return {
        name: Described(kind, frozenset(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in ROW.findall(page)
    }


def described(registry: CollectorRegistry) -> dict[str, Described]:
    def of(family: Metric) -> tuple[str, Described]:
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        return name, Described(family.type, frozenset(labels))

    return dict(of(family) for family in parse(exposition.render(registry).decode()))


def exported_by_the_broker() -> dict[str, Described]:
    async def scenario(engine: Engine) -> dict[str, Described]:
        await run_some(engine)
        observer = Observer()
        observer.requests[GetTask] += 1
        observer.rejections["BAD_REQUEST"] += 1
        observer.connections_closed["idle"] += 1
        return described(exporter_of(engine, observer).registry)

    return with_engine(scenario)


def exported_on_foreign_stores() -> dict[str, Described]:
    async def scenario(engine: Engine) -> dict[str, Described]:
        log = LogMeasures(0, True, 0, {}, Histogram(DISK_BOUNDS_NS))
        stores = StoreMeasures({"redis": True}, {"redis": 1}, 0, 0, {"swept": 1})
        measures = engine.backend.measures
        exporter = Exporter(measures, lambda: log, Observer(), node_id="node1", stores=lambda: stores)
        return described(exporter.registry)

    return {name: each for name, each in with_engine(scenario).items() if name.startswith("tq_stackduck_")}


def exported_by_a_worker() -> dict[str, Described]:
    async def scenario() -> dict[str, Described]:
        app = App()

        @app.task(name="job")
        async def job() -> None: ...

        async with bench(app) as it:
            await it.broker.ending(it.broker.submit("job", pack_arguments((), {}, of="job")))
            return described(WorkerMetrics(lambda: it.worker.counts, it.worker._consumer).registry)

    return run(scenario())


def test_the_page_describes_exactly_what_is_exported() -> None:
    exported = exported_by_the_broker() | exported_on_foreign_stores() | exported_by_a_worker()

    assert documented() == exported


def rule_expressions() -> Iterator[tuple[str, str]]:
    for group in yaml.safe_load(text_of(RULES))["groups"]:
        for rule in group["rules"]:
            yield rule.get("alert") or rule["record"], rule["expr"]


def board_expressions() -> Iterator[tuple[str, str]]:
    for panel in json.loads(text_of(BOARD))["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def samples_of(described: dict[str, Described]) -> set[str]:
    """The names that an expression may use."""
    parts = {
        name: ("_bucket", "_sum", "_count") for name, each in described.items() if each.kind == "histogram"
    }
    return {f"{name}{part}" for name in described for part in parts.get(name, ("",))}


@pytest.mark.parametrize("of", [rule_expressions, board_expressions], ids=["rules", "board"])
def test_every_metric_that_a_rule_or_panel_names_is_exported(of: object) -> None:
    assert callable(of)
    known = samples_of(documented())
    expressions = list(of())
    unknown = [
        (title, name) for title, text in expressions for name in NAME.findall(text) if name not in known
    ]

    assert len(expressions) >= 10
    assert not unknown
    assert not [title for title, text in expressions if text.count("(") != text.count(")")]


@pytest.mark.parametrize("of", [rule_expressions, board_expressions], ids=["rules", "board"])
def test_every_label_that_a_rule_or_panel_groups_by_is_there(of: object) -> None:
    assert callable(of)
    labels_of = {name: each.labels | {"le", "instance", "job"} for name, each in documented().items()}
    for title, text in of():
        for name, selector in re.findall(r"\b((?:tq|process)_\w+)(?:\{([^}]*)\})?", text):
            family = name if name in labels_of else re.sub(r"_(bucket|sum|count)$", "", name)
            used = set(re.findall(r"(\w+)\s*=", selector))
            used |= {label for by in re.findall(r"by \(([^)]*)\)", text) for label in re.split(r",\s*", by)}
            assert used <= labels_of[family], title


def test_every_alert_says_how_bad_it_is_and_what_it_means() -> None:
    rules = [rule for group in yaml.safe_load(text_of(RULES))["groups"] for rule in group["rules"]]
    alerts = [rule for rule in rules if "alert" in rule]

    assert len({rule["alert"] for rule in alerts}) == len(alerts)
    for rule in alerts:
        assert rule["labels"]["severity"] in ("page", "warn"), rule["alert"]
        assert rule["annotations"]["summary"].endswith("."), rule["alert"]


def test_the_scrape_configuration_names_the_rules_beside_it() -> None:
    config = yaml.safe_load(text_of(RULES.with_name("prometheus.yml")))

    assert config["rule_files"] == [RULES.name]
    assert {job["job_name"] for job in config["scrape_configs"]} == {"tq-broker", "tq-worker"}
