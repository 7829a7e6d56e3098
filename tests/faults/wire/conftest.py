"""One installation behind proxies for the whole suite; each test has a site of its own."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.chassis.eventually import until
from tests.faults.checker.ledger import Violation
from tests.faults.stack.installation import Installation, running
from tests.faults.stack.load import Load, opened
from tests.faults.stack.tenants import Tenant, make_tenants
from tests.faults.stack.topics import TopicReader
from tests.faults.stack.verdict import JOB_DEADLINE_S, Verdict, measured
from tests.faults.wire.proxy import Direction, Proxy

MAX_TESTS = 60
# Faults last at most this long; then all is healed.
MAX_FAULT_S = 20.0
MAX_CASE_S = 140.0
SETTINGS = {"JOB_DEADLINE_S": str(JOB_DEADLINE_S), "KAFKA_SEND_TIMEOUT_S": "3"}


@pytest.fixture(scope="package")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    directory = tmp_path_factory.mktemp("wire")
    async with running(Installation(directory, make_tenants(MAX_TESTS), settings=SETTINGS, has_disks=True)) as made:
        yield made


@pytest.fixture(scope="package")
def tenants(installation: Installation) -> Iterator[Tenant]:
    return iter(installation.tenants)


@dataclass
class Case:
    """One test: clients under faults, and the checker's verdict."""

    installation: Installation
    tenant: Tenant

    @property
    def kafka(self) -> Proxy:
        """Between the services and the broker."""
        return self.installation.kafka.wires[0].clients

    @property
    def mongodb(self) -> Proxy:
        """Between the services and MongoDB."""
        return self.installation.mongodb.wires[0]

    def server(self, name: str) -> Proxy:
        """The proxy of `kafka`, `mongodb`, or of a service's API."""
        match name:
            case "kafka":
                return self.kafka
            case "mongodb":
                return self.mongodb
            case _:
                return self.installation.replicas[f"{name}-1"].proxy

    @asynccontextmanager
    async def load(self, seed: int, **options: Any) -> AsyncIterator[Load]:
        """Clients that work while the test breaks things. At the end all is healed, and no invariant may be broken."""
        load = Load(self.installation, self.tenant, seed, **options)
        verdict = Verdict(load, TopicReader(self.installation.kafka.bootstrap_servers))
        # A timeout of its own: its traceback says what was awaited.
        async with asyncio.timeout(MAX_CASE_S), measured(self.installation), opened(load):
            await verdict.begin()
            load.start()
            await until(lambda: len(load.ledger.job_ids()) > 3, deadline_s=MAX_FAULT_S)
            yield load
            violations: Sequence[Violation] = await verdict.judge()
        assert [str(each) for each in itertools.islice(violations, 5)] == []


async def lasts(condition: Callable[[], bool], *, at_most_s: float = MAX_FAULT_S) -> None:
    """Let a fault last for as long as the condition holds, or until the time is over."""
    try:
        await until(lambda: not condition(), deadline_s=at_most_s)
    except TimeoutError:
        return


async def suffered(load: Load, *, requests: int, at_most_s: float = MAX_FAULT_S) -> None:
    """Let a fault last until clients have had this many answers, or none, to requests that they sent since."""
    before = sum(load.api.answers.values())
    await lasts(lambda: sum(load.api.answers.values()) < before + requests, at_most_s=at_most_s)


async def drop(proxy: Proxy, direction: Direction, load: Load, *, requests: int = 5) -> None:
    """Discard bytes for a while, and reset the connections that have lost some."""
    proxy.flows[direction].is_dropping = True
    await suffered(load, requests=requests, at_most_s=1.0)
    proxy.heal()
    await suffered(load, requests=requests, at_most_s=3.0)


@pytest.fixture
async def case(installation: Installation, tenants: Iterator[Tenant]) -> AsyncIterator[Case]:
    yield Case(installation, next(tenants))
    await asyncio.wait_for(installation.heal(), 120)
