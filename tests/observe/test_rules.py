"""Rules as files: about metrics that exist, with a way out for whoever is woken up, and each of them tried."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.topics import TOPICS
from tests.observe.declared import EVERYWHERE, OF_ANY_PROCESS, declared
from tests.observe.promql import labels, selectors
from tests.observe.rules import ALERTS, DIRECTORY, FILES, RECORDED, REPOSITORY, TESTS, rules

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_it_asks_for_what_is_declared(rule: dict[str, Any]) -> None:
    known = declared()
    asked = [name for name, _ in selectors(rule["expr"]) if name not in RECORDED]
    ours = [name for name in asked if not name.startswith(OF_ANY_PROCESS)]
    assert not [name for name in ours if name not in known]
    assert labels(rule["expr"]) <= EVERYWHERE.union(*(known[name] for name in ours))


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
    assert {heading.lower().replace(" ", "-") for heading in headings} - linked == {"first-look"}


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_is_shown_to_fire_and_to_stop(name: str) -> None:
    """The cases are run by promtool below; this is about there being some."""
    read = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in TESTS]
    cases = [case["alert_rule_test"] for file in read for case in file["tests"]]
    shown = [[bool(step["exp_alerts"]) for step in steps if step["alertname"] == name] for steps in cases]
    assert any(True in steps and steps[-1] is False for steps in shown)


def test_stalls_are_looked_for_on_every_topic_that_a_worker_of_ours_reads() -> None:
    workers = {"validator", "status", "fulfilment"}
    read = {
        topic.name
        for topic in TOPICS
        if workers & set(topic.read_by) and topic.cleanup == "delete" and not topic.name.endswith(".dlq")
    }
    expression = ALERTS["ConsumerStalled"]["expr"]
    named = re.search(r'topic=~"([^"]+)"', expression)
    assert named is not None
    assert {name.replace("[.]", ".") for name in named[1].split("|")} == read


@needs_promtool
def test_promtool_takes_the_rules_and_the_configuration() -> None:
    promtool("check", "rules", *FILES)
    promtool("check", "config", DIRECTORY / "prometheus.yml")


@needs_promtool
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_each_alert_fires_and_stops(path: Path) -> None:
    promtool("test", "rules", path)
