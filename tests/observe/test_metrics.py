"""`/metrics` of real processes: exactly the declared metrics, with bounded labels."""

import re
from itertools import product
from typing import Any
from urllib.request import Request, urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sandbox.dashboards import queries, scrape_targets
from services.chassis.runtime import metrics
from services.sales.faults import FaultCode
from tests.observe.declared_metrics import PROCESS_PREFIXES, PROMETHEUS_SERIES, declared_series
from tests.observe.promql import selectors
from tests.observe.rules import rules

SERVICES = ("auth", "ingest", "validator", "status", "fulfilment", "ledger", "webhooks", "operator", "portal")
COMMON_METRICS = {"build_info", "event_loop_delay_seconds"}
AN_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}|[0-9a-f]{16}|\d{4,}")
NAMED = re.compile(r'(\w+)="([^"]*)"')
MAX_SERIES = 2_000


def scrape(endpoints: dict[str, Any], service: str, accept: str = "text/plain") -> tuple[str, str]:
    request = Request(f"http://{scrape_targets(endpoints)[service]}/metrics", headers={"Accept": accept})
    with urlopen(request, timeout=5) as response:  # noqa: S310 - the sandbox's own address
        return response.headers["Content-Type"], response.read().decode()


def families(endpoints: dict[str, Any], service: str) -> dict[str, Any]:
    return {family.name: family for family in text_string_to_metric_families(scrape(endpoints, service)[1])}


@pytest.mark.parametrize("service", SERVICES)
def test_it_exposes_what_is_declared_and_nothing_else(endpoints: dict[str, Any], service: str) -> None:
    declared_series()
    names = {name.removesuffix("_total") for name in metrics.DECLARED}
    shown = set(families(endpoints, service))
    assert not [name for name in shown - names if not name.startswith(PROCESS_PREFIXES)]
    assert shown >= COMMON_METRICS


def test_between_them_they_expose_all_that_is_declared(endpoints: dict[str, Any]) -> None:
    declared_series()
    shown = set[str]().union(*(families(endpoints, service) for service in SERVICES))
    assert not {name.removesuffix("_total") for name in metrics.DECLARED} - shown


@pytest.mark.parametrize("service", SERVICES)
def test_labels_name_kinds_and_never_one_of_many(endpoints: dict[str, Any], service: str) -> None:
    samples = [sample for family in families(endpoints, service).values() for sample in family.samples]
    assert len(samples) < MAX_SERIES
    values = {
        (label, value)
        for sample in samples
        for label, value in sample.labels.items()
        if not sample.name.startswith(PROCESS_PREFIXES) and label not in {"le", "version", "python"}
    }
    assert not [pair for pair in values if AN_ID.search(pair[1])]


def test_what_may_come_to_be_counted_is_there_before(endpoints: dict[str, Any]) -> None:
    """A counter that appears with its first event shows no increase, so panels would miss that event."""
    judged = {tuple(sample.labels.values()) for sample in families(endpoints, "validator")["validator_records"].samples}
    assert judged >= set(product(("orders", "returns"), ("accepted", "rejected", "unprocessable")))
    for service in ("ingest", "validator"):
        faults = families(endpoints, service)[f"{service}_faults"].samples
        assert {sample.labels["code"] for sample in faults} >= set(FaultCode)
    fulfilment = families(endpoints, "fulfilment")
    for name, values in (
        ("transactions", {"accepted", "conflict", "duplicate", "refused"}),
        ("transactions_ended", {"COMPLETED", "PARTIALLY_COMPLETED", "CANCELLED"}),
        ("units", {"delivered", "cancelled"}),
        ("invoices", {"INVOICE", "CREDIT_NOTE"}),
        ("rate_limited", {"orders", "reads"}),
        ("mails", {"sent", "refused"}),
    ):
        shown = {value for sample in fulfilment[f"fulfilment_{name}"].samples for value in sample.labels.values()}
        assert shown >= values, name


def test_a_value_that_a_panel_or_a_rule_names_is_one_that_there_is(endpoints: dict[str, Any]) -> None:
    """A misspelt label value selects nothing, and an empty panel looks like a quiet day."""
    samples = [
        sample for service in SERVICES for family in families(endpoints, service).values() for sample in family.samples
    ]
    expressions = [query.expression for query in queries()] + [rule["expr"] for rule in rules()]
    asked = {selector for expression in expressions for selector in selectors(expression)}
    named = [(metric, dict(NAMED.findall(matchers))) for metric, matchers in asked if metric not in PROMETHEUS_SERIES]
    assert not [
        (metric, values)
        for metric, values in named
        if values and not any(sample.name == metric and values.items() <= sample.labels.items() for sample in samples)
    ]


@pytest.mark.parametrize("service", SERVICES)
def test_it_speaks_openmetrics_to_who_asks(endpoints: dict[str, Any], service: str) -> None:
    kind, text = scrape(endpoints, service, "application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


@pytest.mark.parametrize("service", SERVICES)
def test_it_says_what_runs(endpoints: dict[str, Any], service: str) -> None:
    (sample,) = families(endpoints, service)["build_info"].samples
    assert sample.labels["service"] == service
    assert sample.value == 1
