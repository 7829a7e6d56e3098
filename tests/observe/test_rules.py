"""The rule files: about declared metrics, each alert with a runbook section and a promtool test."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.topics import TOPICS
from tests.observe.declared_metrics import COMMON_LABELS, PROCESS_PREFIXES, declared_series
from tests.observe.promql import labels, selectors
from tests.observe.rules import ALERTS, DIRECTORY, FILES, RECORDED, REPOSITORY, TESTS, rules

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
SERVICES = {"auth", "ingest", "validator", "status", "fulfilment", "ledger", "webhooks", "operator", "portal"}
# The objectives: 99.9 % of requests without a 5xx, 99 % of jobs visible within 5 s.
BUDGETS = [
    ("Availability", "job:http_requests:error_ratio", "0.001"),
    ("EndToEnd", "status:jobs:slow_ratio", "0.01"),
]
# Burn rate, long and short window: a rate of 14.4 for an hour consumes 2 % of a month's budget.
BURNING = {
    "BurnsFast": [("14.4", "1h", "5m"), ("6", "6h", "30m")],
    "BurnsSlowly": [("3", "1d", "2h"), ("1", "3d", "6h")],
}
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_it_asks_for_what_is_declared(rule: dict[str, Any]) -> None:
    known = declared_series()
    asked = [name for name, _ in selectors(rule["expr"]) if name not in RECORDED]
    ours = [name for name in asked if not name.startswith(PROCESS_PREFIXES)]
    assert not [name for name in ours if name not in known]
    assert labels(rule["expr"]) <= COMMON_LABELS.union(*(known[name] for name in ours))


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_bad_it_is_and_what_to_do(name: str) -> None:
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["annotations"]["summary"]
    document, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    headings = HEADING.findall((REPOSITORY / document).read_text(encoding="utf-8"))
    assert anchor in [heading.lower().replace(" ", "-") for heading in headings]


def test_the_runbook_has_nothing_that_is_no_alert() -> None:
    headings = HEADING.findall((REPOSITORY / "docs" / "runbook.md").read_text(encoding="utf-8"))
    linked = {alert["annotations"]["runbook_url"].partition("#")[2] for alert in ALERTS.values()}
    assert {heading.lower().replace(" ", "-") for heading in headings} - linked == {
        "first-look",
        "duplicates-prevent-an-index",
    }


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_is_shown_to_fire_and_to_stop(name: str) -> None:
    """Promtool runs the cases below; this checks that they exist."""
    read = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in TESTS]
    cases = [case["alert_rule_test"] for file in read for case in file["tests"]]
    shown = [[bool(step["exp_alerts"]) for step in steps if step["alertname"] == name] for steps in cases]
    assert any(True in steps and steps[-1] is False for steps in shown)


def test_stalls_are_looked_for_on_every_topic_that_a_worker_of_ours_reads() -> None:
    workers = {"validator", "status", "fulfilment", "ledger", "webhooks"}
    read = {
        topic.name
        for topic in TOPICS
        if workers & set(topic.read_by) and topic.cleanup == "delete" and not topic.name.endswith(".dlq")
    }
    expression = ALERTS["ConsumerStalled"]["expr"]
    named = re.search(r'topic=~"([^"]+)"', expression)
    assert named is not None
    assert {name.replace("[.]", ".") for name in named[1].split("|")} == read


@pytest.mark.parametrize("metric", sorted({name.rpartition("_rate")[0] for name in RECORDED}))
def test_what_is_recorded_looks_back_as_far_as_its_name_says(metric: str) -> None:
    """And is the same expression for all windows."""
    windows = {name.rpartition("_rate")[2]: rule["expr"] for name, rule in RECORDED.items() if name.startswith(metric)}
    assert windows.keys() == {"5m", "30m", "1h", "2h", "6h", "1d", "3d"}
    assert len({expression.replace(f"[{window}]", "[…]") for window, expression in windows.items()}) == 1


@pytest.mark.parametrize(("objective", "metric", "budget"), BUDGETS, ids=[objective for objective, *_ in BUDGETS])
@pytest.mark.parametrize(("speed", "windows"), BURNING.items(), ids=BURNING)
def test_a_budget_is_watched_over_a_long_and_a_short_time(
    objective: str, metric: str, budget: str, speed: str, windows: list[tuple[str, str, str]]
) -> None:
    """The long window suppresses noise; the short one ends the alert when the failure ends."""
    conditions = [
        f"({metric}_rate{long} > {factor} * {budget} and {metric}_rate{short} > {factor} * {budget})"
        for factor, long, short in windows
    ]
    assert re.split(r"\s+or\s+", ALERTS[objective + speed]["expr"].strip()) == conditions


@pytest.mark.parametrize(
    ("alert", "services"),
    [
        ("ServiceDown", SERVICES),
        ("ServiceRestarting", SERVICES),
        ("SigningKeysMissing", {"ingest", "status", "fulfilment", "ledger", "webhooks"}),
    ],
)
def test_no_service_is_left_out(alert: str, services: set[str]) -> None:
    named = re.findall(r'job=~"([^"]+)"', ALERTS[alert]["expr"])
    assert named
    assert all(set(names.split("|")) == services for names in named)


def test_no_service_may_be_missing() -> None:
    assert set(re.findall(r'absent\(up{job="([^"]+)"}\)', ALERTS["ServiceMissing"]["expr"])) == SERVICES


@needs_promtool
def test_promtool_takes_the_rules_and_the_configuration() -> None:
    promtool("check", "rules", *FILES)
    promtool("check", "config", DIRECTORY / "prometheus.yml")


@needs_promtool
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_each_alert_fires_and_stops(path: Path) -> None:
    promtool("test", "rules", path)
