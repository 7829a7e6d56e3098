"""A Prometheus that scrapes a sandbox's services and evaluates the production rules."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

from sandbox import paths
from sandbox.errors import MissingDependencyError
from sandbox.ports import free_port
from sandbox.probes import http_status
from sandbox.process import ManagedProcess, Program

START_TIMEOUT_S = 30.0
REQUEST_TIMEOUT_S = 20.0
RULES = paths.REPOSITORY / "deploy" / "prometheus" / "rules"

# Proxy settings of the environment do not apply to the loopback interface.
_opener = build_opener(ProxyHandler({}))

Series = list[dict[str, Any]]


class QueryError(Exception):
    """Prometheus rejected the query."""


def find_prometheus() -> Path:
    """Return the `prometheus` on PATH, as distributions package it."""
    found = shutil.which("prometheus")
    if found is None:
        raise MissingDependencyError("No prometheus found on PATH: install your distribution's package of that name.")
    return Path(found)


class Prometheus(ManagedProcess):
    """A Prometheus that scrapes `targets` (`{"ingest": "127.0.0.1:19001"}`) every second and has the rules in `rules`.

    Each launch writes the configuration; the data stays in `directory`.
    """

    def __init__(
        self, directory: Path, *, targets: Mapping[str, str], rules: Path = RULES, interval_s: int = 1
    ) -> None:
        self.port = free_port()
        self._directory = directory
        self._targets = targets
        self._rules = rules
        self._interval = f"{interval_s}s"
        command = [
            str(find_prometheus()),
            f"--config.file={self._config_file}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        ]
        super().__init__(Program(name="prometheus", command=command, log=directory / "prometheus.log"))

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def _config_file(self) -> Path:
        return self._directory / "prometheus.yml"

    def launch(self) -> None:
        """Start the process and return at once."""
        self._directory.mkdir(parents=True, exist_ok=True)
        # JSON is a subset of YAML.
        self._config_file.write_text(json.dumps(self._build_config()), encoding="utf-8")
        super().launch()

    def is_ready(self) -> bool:
        """Whether it answers. Raises `NotReadyError` if it has exited."""
        self.assert_running()
        return http_status(f"{self.url}/-/ready") == 200

    def start(self) -> None:
        """Start (or restart) it and wait until it answers."""
        self.launch()
        self.wait_until(self.is_ready, deadline_s=START_TIMEOUT_S)

    def query(self, expression: str) -> Series:
        """Evaluate the expression now. Raises `QueryError`."""
        result: Series = self._get("query", query=expression)["result"]
        return result

    def query_range(self, expression: str, *, start: float, end: float, step_s: float) -> Series:
        """Evaluate the expression over a range of time. Raises `QueryError`."""
        result: Series = self._get("query_range", query=expression, start=start, end=end, step=step_s)["result"]
        return result

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with its state and health."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, endpoint: str, **parameters: object) -> Any:
        try:
            with _opener.open(
                f"{self.url}/api/v1/{endpoint}?{urlencode(parameters)}", timeout=REQUEST_TIMEOUT_S
            ) as answer:
                return json.load(answer)["data"]
        except HTTPError as error:
            raise QueryError(json.load(error).get("error", str(error))) from error

    def _build_config(self) -> dict[str, Any]:
        return {
            "global": {
                "scrape_interval": self._interval,
                "scrape_timeout": self._interval,
                "evaluation_interval": self._interval,
            },
            "rule_files": [str(self._rules / "*.yml")],
            "scrape_configs": [
                {"job_name": name, "static_configs": [{"targets": [address]}]}
                for name, address in self._targets.items()
            ],
        }
