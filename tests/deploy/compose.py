"""The compose file, parsed like compose does, without compose."""

import re
from functools import cache
from typing import Any

import yaml

from tests.deploy.manifests import REPOSITORY

FILE = REPOSITORY / "docker-compose.yml"
EXAMPLE = REPOSITORY / ".env.example"
_VARIABLE = re.compile(r"\$\{(\w+)(?::?([-?])([^}]*))?\}")


@cache
def example_values() -> dict[str, str]:
    """Return the values of `.env.example`."""
    lines = (line.partition("=") for line in EXAMPLE.read_text(encoding="utf-8").splitlines())
    return {name: value for name, _, value in lines if value and not name.startswith("#")}


@cache
def compose() -> dict[str, Any]:
    """Return the compose file with anchors merged and the example's variables substituted."""
    read: dict[str, Any] = yaml.safe_load(_VARIABLE.sub(_substitute, FILE.read_text(encoding="utf-8")))
    return read


def _substitute(found: re.Match[str]) -> str:
    name, operator, default = found.groups()
    if name in example_values():
        return example_values()[name]
    assert operator == "-", f"{name} is not in .env.example and has no default"
    return str(default)


def environment(service: str) -> dict[str, str]:
    """Return the environment of a service."""
    variables = compose()["services"][service].get("environment", {})
    return {name: str(value) for name, value in variables.items()}
