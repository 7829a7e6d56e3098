"""The runbook quotes log lines and panel titles that exist."""

import json
import re

import pytest

from services.chassis.runtime.settings import REPOSITORY

RUNBOOK = (REPOSITORY / "docs" / "runbook.md").read_text(encoding="utf-8")
LOG_LINES = sorted(set(re.findall(r"log line `([^`]+)`", RUNBOOK)))
DASHBOARDS = ("overview", "pipeline", "business", "runtime")
PANELS = sorted(set(re.findall(r'"([A-Z][^"]+)"', re.sub(r"`[^`]+`", "", RUNBOOK))))


@pytest.mark.parametrize("line", LOG_LINES)
def test_a_log_line_is_logged(line: str) -> None:
    sources = (REPOSITORY / "services").rglob("*.py")
    assert any(f'"{line}' in path.read_text(encoding="utf-8") for path in sources)


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_is_on_a_dashboard(panel: str) -> None:
    directory = REPOSITORY / "deploy" / "grafana" / "dashboards"
    files = [json.loads((directory / f"{name}.json").read_text(encoding="utf-8")) for name in DASHBOARDS]
    titles = [row["title"] for file in files for row in file["panels"]]
    assert any(panel in {title, title.partition(",")[0]} for title in titles)
