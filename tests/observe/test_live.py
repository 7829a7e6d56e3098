"""Dashboards and rules on a running sandbox: every query yields data."""

from typing import Any

import pytest

from sandbox.dashboards import DEFAULT_VARIABLES, Query, queries
from sandbox.polling import wait_until
from sandbox.prometheus import Prometheus
from tests.observe.promql import selectors
from tests.observe.rules import RECORDED, rules

pytestmark = pytest.mark.long

QUERIES = list(queries({**DEFAULT_VARIABLES, "__range": "5m"}))
# Series that exist only after serious errors; promtool tests cover them.
ONLY_AFTER_ERRORS = ("consumer_lost_records_total", 'http_request_seconds_count{status=~"5.."}')
DEADLINE_S = 20


def shows_something(prometheus: Prometheus, query: Query) -> bool:
    """Whether there is a number; a quantile without observations is NaN."""
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
    expected = [selector for selector in selected if not selector.startswith(ONLY_AFTER_ERRORS)]

    def all_there() -> bool:
        return all(prometheus.query(selector) for selector in expected)

    wait_until(all_there, deadline_s=DEADLINE_S, description=f"not all of {expected} exist")


@pytest.mark.parametrize("record", RECORDED)
def test_what_is_recorded_is_there(prometheus: Prometheus, record: str) -> None:
    wait_until(lambda: bool(prometheus.query(record)), deadline_s=DEADLINE_S, description=f"no series {record}")


def test_every_rule_can_be_evaluated(prometheus: Prometheus) -> None:
    evaluated = prometheus.rules()
    assert len(evaluated) == len(rules())
    assert not [(rule["name"], rule["lastError"]) for rule in evaluated if rule["health"] == "err"]


def test_nothing_but_the_planted_dead_letters_is_reported(prometheus: Prometheus) -> None:
    """The mixed traffic's invalid requests raise no alert, but its undecodable records do."""
    firing = {rule["name"] for rule in prometheus.rules() if rule.get("state") == "firing"}
    assert firing <= {"DeadLetters", "AllFailedJobs"}
    assert "DeadLetters" in firing
