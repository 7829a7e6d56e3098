"""The compose file, read as compose reads it, without compose."""

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
    """What `.env.example` sets."""
    lines = (line.partition("=") for line in EXAMPLE.read_text(encoding="utf-8").splitlines())
    return {name: value for name, _, value in lines if value and not name.startswith("#")}


@cache
def compose() -> dict[str, Any]:
    """The file with anchors merged and the example's variables filled in."""
    read: dict[str, Any] = yaml.safe_load(_VARIABLE.sub(_substitute, FILE.read_text(encoding="utf-8")))
    return read


def _substitute(found: re.Match[str]) -> str:
    name, how, otherwise = found.groups()
    if name in example_values():
        return example_values()[name]
    assert how == "-", f"{name} is neither in .env.example nor has it a default"
    return str(otherwise)


def environment(service: str) -> dict[str, str]:
    """Everything that a service is told."""
    told = compose()["services"][service].get("environment", {})
    return {name: str(value) for name, value in told.items()}
