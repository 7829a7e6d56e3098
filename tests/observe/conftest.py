"""A sandbox with something going on in it, and Prometheus beside it."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from bench.variety import Visitor
from sandbox.dashboards import targets
from sandbox.missing import Missing
from sandbox.prometheus import Prometheus
from tests.e2e.installation import Installation


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A sandbox that logs all there is to log."""
    made = Installation(tmp_path_factory.mktemp("watched"), told={"LOG_LEVEL": "DEBUG"})
    made.must("up", "--port", "0", within_s=180)
    yield made
    made.must("down")


@pytest.fixture(scope="session")
def endpoints(watched: Installation) -> dict[str, Any]:
    """Where everything of it is."""
    found: dict[str, Any] = json.loads((watched.directory / "endpoints.json").read_text())
    return found


@pytest.fixture(scope="session")
def prometheus(endpoints: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has seen two rounds of everything: a rate needs two looks at a counter."""
    try:
        made = Prometheus(tmp_path_factory.mktemp("prometheus"), targets=targets(endpoints))
    except Missing as missing:
        pytest.skip(str(missing))
    made.start()
    try:
        asyncio.run(_rounds(endpoints, 2))
        yield made
    finally:
        made.kill()


async def _rounds(endpoints: dict[str, Any], count: int) -> None:
    async with aiohttp.ClientSession() as session:
        visitor = Visitor(endpoints["front_door"], session)
        for _ in range(count):
            await visitor.all_of_it(endpoints["kafka_bootstrap_servers"])
