"""The dashboard files: classic JSON that every Grafana accepts, about declared metrics."""

import re
from itertools import combinations
from typing import Any

import pytest

from sandbox.dashboards import dashboards, queries
from tests.observe.declared_metrics import COMMON_LABELS, PROCESS_PREFIXES, declared_series
from tests.observe.promql import labels, selectors
from tests.observe.rules import RECORDED

DASHBOARDS = dashboards()
SERVICES = {"auth", "ingest", "validator", "status", "fulfilment", "ledger", "webhooks", "operator", "portal"}
SOURCE = {"type": "prometheus", "uid": "${datasource}"}

each_dashboard = pytest.mark.parametrize("board", DASHBOARDS.values(), ids=DASHBOARDS)


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


def test_there_are_four_with_fixed_names() -> None:
    assert {name: board["uid"] for name, board in DASHBOARDS.items()} == {
        name: f"tillstream-{name}" for name in ("overview", "pipeline", "business", "runtime")
    }


@each_dashboard
def test_it_is_provisioned_without_questions(board: dict[str, Any]) -> None:
    assert "__inputs" not in board
    assert "id" not in board
    assert [variable["name"] for variable in board["templating"]["list"]] == ["datasource"]
    assert board["templating"]["list"][0]["query"] == "prometheus"


@each_dashboard
def test_its_panels_say_what_they_show_and_where_from(board: dict[str, Any]) -> None:
    for panel in board["panels"]:
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["datasource"] == SOURCE
        assert [target["datasource"] for target in panel["targets"]] == [SOURCE] * len(panel["targets"])
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@each_dashboard
def test_its_panels_lie_side_by_side(board: dict[str, Any]) -> None:
    positions = [panel["gridPos"] for panel in board["panels"]]
    assert len({panel["id"] for panel in board["panels"]}) == len(positions)
    assert all(each["x"] + each["w"] <= 24 for each in positions)
    assert not [pair for pair in combinations(positions, 2) if overlap(*pair)]


@pytest.mark.parametrize("query", list(queries()), ids=lambda query: f"{query.dashboard} – {query.panel}")
def test_it_asks_for_what_is_declared(query: Any) -> None:
    known = declared_series()
    names = [name for name, _ in selectors(query.expression) if name not in RECORDED]
    ours = [name for name in names if not name.startswith(PROCESS_PREFIXES)]
    assert not [name for name in ours if name not in known]
    assert all(set(jobs.split("|")) == SERVICES for jobs in re.findall(r'job=~"([^"]+)"', query.expression))
    allowed = COMMON_LABELS.union(*(known[name] for name in ours))
    if len(ours) == len(names) and ours:
        assert labels(query.expression) <= allowed
