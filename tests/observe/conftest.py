"""A sandbox with something going on in it, and Prometheus beside it."""

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
# How often services fetch the signing keys unless they are told otherwise.
REFRESH_S = 300


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A sandbox that logs all there is to log."""
    made = Installation(tmp_path_factory.mktemp("watched"), settings={"LOG_LEVEL": "DEBUG"})
    made.run("up", "--port", "0", within_s=180)
    yield made
    made.run("down")


@pytest.fixture(scope="session")
def endpoints(watched: Installation) -> dict[str, Any]:
    """Where everything of it is."""
    found: dict[str, Any] = json.loads((watched.directory / "endpoints.json").read_text())
    return found


@pytest.fixture(scope="session")
def prometheus(endpoints: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has seen two rounds of everything, and goes on seeing some: a rate looks back one minute."""
    try:
        made = Prometheus(tmp_path_factory.mktemp("prometheus"), targets=scrape_targets(endpoints))
    except MissingDependencyError as missing:
        pytest.skip(str(missing))
    made.start()
    enough = Event()
    with ThreadPoolExecutor(1) as beside:
        try:
            asyncio.run(_run_rounds(endpoints, range(2)))
            going_on = beside.submit(lambda: asyncio.run(_run_rounds(endpoints, _until_set(enough))))
            yield made
            enough.set()
            going_on.result()
        finally:
            enough.set()
            made.kill()


@pytest.fixture(scope="session")
def rate_limit_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """The store of the shared rate limit of what is broken."""
    made = Valkey(tmp_path_factory.mktemp("limits"))
    made.start()
    yield made
    made.kill()


@pytest.fixture(scope="session")
def broken(rate_limit_store: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A sandbox that these tests may break; in as much of a hurry as the rules."""
    programs = tmp_path_factory.mktemp("programs")
    write_breakable_mongod(programs)
    told = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "RATE_LIMIT_URL": rate_limit_store.url,
        "JOB_DEADLINE_S": "30",
        "AUTH_JWKS_REFRESH_S": str(REFRESH_S / SPEED_UP),
    }
    made = Installation(tmp_path_factory.mktemp("broken"), settings=told)
    made.run("up", "--port", "0", within_s=180)
    yield made
    made.run("down")


def write_breakable_mongod(directory: Path) -> None:
    """A `mongod` there that can be told to fail single commands."""
    program = directory / "mongod"
    program.write_text(f'#!/bin/sh\nexec "{find_mongod()}" "$@" --setParameter enableTestCommands=1\n')
    program.chmod(0o755)


@pytest.fixture(scope="session")
def observer(broken: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that loses patience soon, and has seen all services before anything happens to them."""
    rules = write_fast_rules(tmp_path_factory.mktemp("rules"))
    addresses = scrape_targets(broken.endpoints)
    try:
        made = Prometheus(tmp_path_factory.mktemp("observer"), targets=addresses, rules=rules)
    except MissingDependencyError as missing:
        pytest.skip(str(missing))
    made.start()
    wait_until(
        lambda: len(made.query("up == 1")) == len(addresses), deadline_s=30, description="not all of them answer"
    )
    yield made
    made.kill()


@pytest.fixture
async def customer(broken: Installation) -> AsyncIterator[Customer]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        customer = Customer(broken.base, session, DEMO)
        # What is broken later does not matter to a token that is there.
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
        visitor = MixedTraffic(endpoints["gateway"], session)
        for _ in rounds:
            await visitor.run_once(endpoints["kafka_bootstrap_servers"])
