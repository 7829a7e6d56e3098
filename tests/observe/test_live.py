"""Dashboards and rules on a running sandbox: everything they ask for is there."""

from typing import Any

import pytest

from sandbox.dashboards import DEFAULT_VARIABLES, Query, queries
from sandbox.polling import wait_until
from sandbox.prometheus import Prometheus
from tests.observe.promql import selectors
from tests.observe.rules import RECORDED, rules

pytestmark = pytest.mark.long

QUERIES = list(queries({**DEFAULT_VARIABLES, "__range": "5m"}))
# What there is only when something is badly wrong. That it would be there then, promtool shows.
ONLY_IN_NEED = ("consumer_lost_records_total", 'http_request_seconds_count{status=~"5.."}')
DEADLINE_S = 20


def shows_something(prometheus: Prometheus, query: Query) -> bool:
    """Whether there is a number; the quantile of nothing is none."""
    return any(series["value"][1] != "NaN" for series in prometheus.query(query.expression))


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: f"{query.dashboard} – {query.panel}")
def test_a_panel_has_something_to_show(prometheus: Prometheus, query: Query) -> None:
    wait_until(
        lambda: shows_something(prometheus, query),
        deadline_s=DEADLINE_S,
        description=f"no data for {query.expression}",
    )


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_looks_at_something(prometheus: Prometheus, rule: dict[str, Any]) -> None:
    selected = (name + matchers for name, matchers in selectors(rule["expr"]))
    asked = [selector for selector in selected if not selector.startswith(ONLY_IN_NEED)]

    def all_there() -> bool:
        return all(prometheus.query(selector) for selector in asked)

    wait_until(all_there, deadline_s=DEADLINE_S, description=f"not all of {asked} are there")


@pytest.mark.parametrize("record", RECORDED)
def test_what_is_recorded_is_there(prometheus: Prometheus, record: str) -> None:
    wait_until(lambda: bool(prometheus.query(record)), deadline_s=DEADLINE_S, description=f"no series {record}")


def test_every_rule_can_be_evaluated(prometheus: Prometheus) -> None:
    evaluated = prometheus.rules()
    assert len(evaluated) == len(rules())
    assert not [(rule["name"], rule["lastError"]) for rule in evaluated if rule["health"] == "err"]


def test_nothing_but_the_planted_dead_letters_is_reported(prometheus: Prometheus) -> None:
    """The visitor's deliberate mistakes are business as usual, but for what he wrote to Kafka."""
    firing = {rule["name"] for rule in prometheus.rules() if rule.get("state") == "firing"}
    assert firing <= {"DeadLetters", "AllFailedJobs"}
    assert "DeadLetters" in firing
