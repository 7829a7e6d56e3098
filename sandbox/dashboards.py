"""The dashboards' queries, as Grafana would send them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sandbox import paths

DIRECTORY = paths.REPOSITORY / "deploy" / "grafana" / "dashboards"
# Values of Grafana's variables: a rate interval of at least four scrapes, and the displayed range.
DEFAULT_VARIABLES = {"__rate_interval": "1m", "__range": "15m", "__interval": "15s"}
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")


@dataclass(frozen=True, slots=True)
class Query:
    """One query of one panel, with its variables substituted."""

    dashboard: str
    panel: str
    expression: str
    legend: str


def dashboards() -> dict[str, dict[str, Any]]:
    """Return all dashboards by the stem of their file."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(DIRECTORY.glob("*.json"))}


def queries(variables: dict[str, str] = DEFAULT_VARIABLES) -> Iterator[Query]:
    """Yield every query of every panel."""
    for dashboard in dashboards().values():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                expression = _VARIABLE.sub(lambda match: variables[match[1]], target["expr"])
                yield Query(dashboard["title"], panel["title"], expression, target["legendFormat"])


def scrape_targets(endpoints: dict[str, Any]) -> dict[str, str]:
    """Return the scrape address of each service, from the content of `endpoints.json`."""
    return {name: addresses["operations"].split("//")[1] for name, addresses in endpoints["services"].items()}
