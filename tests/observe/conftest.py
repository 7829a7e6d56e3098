"""Sandboxes under load, each with a Prometheus."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import aiohttp
import pytest

from bench.mixed_traffic import MixedTraffic
from sandbox.dashboards import scrape_targets
from sandbox.errors import MissingDependencyError
from sandbox.mongo import find_mongod
from sandbox.polling import wait_until
from sandbox.prometheus import Prometheus
from tests.e2e.customer import DEMO, Customer
from tests.e2e.installation import Installation
from tests.observe.alert_watch import AlertWatch
from tests.observe.fast_rules import SPEED_UP, write_fast_rules
from tests.support.valkey import Valkey

PAUSE_S = 3.0
# The default interval at which services fetch the signing keys.
REFRESH_S = 300


@pytest.fixture(scope="package")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A sandbox with the log level DEBUG."""
    made = Installation(tmp_path_factory.mktemp("watched"), settings={"LOG_LEVEL": "DEBUG"})
    made.run("up", "--port", "0", within_s=180)
    yield made
    made.run("down")


@pytest.fixture(scope="package")
def endpoints(watched: Installation) -> dict[str, Any]:
    """The content of its `endpoints.json`."""
    found: dict[str, Any] = json.loads((watched.directory / "endpoints.json").read_text())
    return found


@pytest.fixture(scope="package")
def prometheus(endpoints: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus after two rounds of mixed traffic, which continues: rates cover the last minute."""
    try:
        made = Prometheus(tmp_path_factory.mktemp("prometheus"), targets=scrape_targets(endpoints))
    except MissingDependencyError as missing:
        pytest.skip(str(missing))
    made.start()
    enough = Event()
    with ThreadPoolExecutor(1) as executor:
        try:
            asyncio.run(_run_rounds(endpoints, range(2)))
            traffic = executor.submit(lambda: asyncio.run(_run_rounds(endpoints, _until_set(enough))))
            yield made
            enough.set()
            traffic.result()
        finally:
            enough.set()
            made.kill()


@pytest.fixture(scope="package")
def rate_limit_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """The store of the shared rate limit of `broken`."""
    made = Valkey(tmp_path_factory.mktemp("limits"))
    made.start()
    yield made
    made.kill()


@pytest.fixture(scope="package")
def broken(rate_limit_store: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A sandbox that these tests may break, with intervals as short as those of the fast rules."""
    programs = tmp_path_factory.mktemp("programs")
    write_breakable_mongod(programs)
    settings = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "RATE_LIMIT_URL": rate_limit_store.url,
        "JOB_DEADLINE_S": "30",
        "AUTH_JWKS_REFRESH_S": str(REFRESH_S / SPEED_UP),
    }
    made = Installation(tmp_path_factory.mktemp("broken"), settings=settings)
    made.run("up", "--port", "0", within_s=180)
    yield made
    made.run("down")


def write_breakable_mongod(directory: Path) -> None:
    """Write a `mongod` wrapper that allows fail points for single commands."""
    program = directory / "mongod"
    program.write_text(f'#!/bin/sh\nexec "{find_mongod()}" "$@" --setParameter enableTestCommands=1\n')
    program.chmod(0o755)


@pytest.fixture(scope="package")
def observer(broken: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus with fast rules that has scraped all services before a test breaks them."""
    rules = write_fast_rules(tmp_path_factory.mktemp("rules"))
    addresses = scrape_targets(broken.endpoints)
    try:
        made = Prometheus(tmp_path_factory.mktemp("observer"), targets=addresses, rules=rules)
    except MissingDependencyError as missing:
        pytest.skip(str(missing))
    made.start()
    wait_until(
        lambda: len(made.query("up == 1")) == len(addresses), deadline_s=30, description="not all targets are up"
    )
    yield made
    made.kill()


@pytest.fixture
async def customer(broken: Installation) -> AsyncIterator[Customer]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        customer = Customer(broken.base, session, DEMO)
        # Get the token before anything breaks.
        await customer.token("import")
        yield customer


@pytest.fixture
def watch(observer: Prometheus) -> AlertWatch:
    return AlertWatch(observer)


def _until_set(enough: Event) -> Iterator[None]:
    while not enough.wait(PAUSE_S):
        yield


async def _run_rounds(endpoints: dict[str, Any], rounds: Iterable[object]) -> None:
    async with aiohttp.ClientSession() as session:
        traffic = MixedTraffic(endpoints["gateway"], session)
        for _ in rounds:
            await traffic.run_once(endpoints["kafka_bootstrap_servers"])
