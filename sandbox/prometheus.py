"""Prometheus beside a sandbox: scrapes its services, and has the rules that production has."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

from sandbox import paths
from sandbox.child import Child, Program
from sandbox.missing import Missing
from sandbox.ports import free_port
from sandbox.probes import http_status

SECONDS_TO_START = 30.0
ASKING_TIMEOUT_S = 20.0
RULES = paths.REPOSITORY / "deploy" / "prometheus" / "rules"

# Whatever proxy this person uses is not for the loopback interface.
_DIRECT = build_opener(ProxyHandler({}))

Series = list[dict[str, Any]]


class Refused(Exception):  # noqa: N818 - says what happened
    """Prometheus did not understand the query."""


def find_prometheus() -> Path:
    """The `prometheus` on PATH, as distributions package it."""
    found = shutil.which("prometheus")
    if found is None:
        raise Missing("No prometheus found on PATH: install your distribution's package of that name.")
    return Path(found)


class Prometheus(Child):
    """A Prometheus that scrapes `targets` (`{"ingest": "127.0.0.1:19001"}`) every second and has the rules in `rules`.

    Its configuration is made anew at each launch; its data stays in `directory`.
    """

    def __init__(self, directory: Path, *, targets: Mapping[str, str], rules: Path = RULES, every_s: int = 1) -> None:
        self.port = free_port()
        self._directory = directory
        self._targets = targets
        self._rules = rules
        self._every = f"{every_s}s"
        command = [
            str(find_prometheus()),
            f"--config.file={self._configuration}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        ]
        super().__init__(Program(name="prometheus", command=command, log=directory / "prometheus.log"))

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def _configuration(self) -> Path:
        return self._directory / "prometheus.yml"

    def launch(self) -> None:
        """Start the process and return at once."""
        self._directory.mkdir(parents=True, exist_ok=True)
        # JSON is YAML, too.
        self._configuration.write_text(json.dumps(self._settings()), encoding="utf-8")
        super().launch()

    def settle(self) -> bool:
        """Whether it answers. Raises `NeverReady` if it ended."""
        self.must_run()
        return http_status(f"{self.url}/-/ready") == 200

    def start(self) -> None:
        """Start it (again) and wait until it answers."""
        self.launch()
        self.wait_until(self.settle, deadline_s=SECONDS_TO_START)

    def query(self, expression: str) -> Series:
        """What the expression yields now. Raises `Refused`."""
        result: Series = self._ask("query", query=expression)["result"]
        return result

    def query_range(self, expression: str, *, start: float, end: float, step_s: float) -> Series:
        """What the expression yielded in that time. Raises `Refused`."""
        result: Series = self._ask("query_range", query=expression, start=start, end=end, step=step_s)["result"]
        return result

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with its state and health."""
        return [rule for group in self._ask("rules")["groups"] for rule in group["rules"]]

    def _ask(self, what: str, **parameters: object) -> Any:
        try:
            with _DIRECT.open(f"{self.url}/api/v1/{what}?{urlencode(parameters)}", timeout=ASKING_TIMEOUT_S) as answer:
                return json.load(answer)["data"]
        except HTTPError as error:
            raise Refused(json.load(error).get("error", str(error))) from error

    def _settings(self) -> dict[str, Any]:
        return {
            "global": {
                "scrape_interval": self._every,
                "scrape_timeout": self._every,
                "evaluation_interval": self._every,
            },
            "rule_files": [str(self._rules / "*.yml")],
            "scrape_configs": [
                {"job_name": name, "static_configs": [{"targets": [address]}]}
                for name, address in self._targets.items()
            ],
        }
