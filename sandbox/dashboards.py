"""The queries of the dashboards, as Grafana would ask them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sandbox import paths

DIRECTORY = paths.REPOSITORY / "deploy" / "grafana" / "dashboards"
# What Grafana fills in: at least four scrapes, and the range of time that is shown.
FILLED_IN = {"__rate_interval": "1m", "__range": "15m", "__interval": "15s"}
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")


@dataclass(frozen=True, slots=True)
class Query:
    """One query of one panel; `expression` is complete."""

    dashboard: str
    panel: str
    expression: str
    legend: str


def dashboards() -> dict[str, dict[str, Any]]:
    """Every dashboard, by the stem of its file."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(DIRECTORY.glob("*.json"))}


def queries(filled_in: dict[str, str] = FILLED_IN) -> Iterator[Query]:
    """Every query of every panel."""
    for dashboard in dashboards().values():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                expression = _VARIABLE.sub(lambda name: filled_in[name[1]], target["expr"])
                yield Query(dashboard["title"], panel["title"], expression, target["legendFormat"])


def targets(endpoints: dict[str, Any]) -> dict[str, str]:
    """Where Prometheus finds each service, by what a sandbox says of itself in `endpoints.json`."""
    return {name: addresses["operations"].split("//")[1] for name, addresses in endpoints["services"].items()}
