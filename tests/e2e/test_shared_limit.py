"""Two ingest processes with one Valkey share one rate limit, also when one of them is killed."""

import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import aiohttp
import pytest

from sandbox.ports import free_port
from sandbox.probes import http_status
from sandbox.process import ManagedProcess, Program
from tests.e2e.customer import Customer
from tests.e2e.installation import Installation
from tests.support.valkey import Valkey

pytestmark = pytest.mark.long

LIMIT = 100
BATCH = 5
WORKERS = 3
PHASE_S = 2.5


class Replica(ManagedProcess):
    """Another ingest of the installation, on ports of its own, with the shared rate limit."""

    def __init__(self, installation: Installation, directory: Path, *, number: int, store: str) -> None:
        self.port, self._operations = free_port(), free_port()
        environment = {
            **installation.environment_of("ingest"),
            "HTTP_PORT": str(self.port),
            "OPERATIONS_PORT": str(self._operations),
            "RATE_LIMIT_URL": store,
        }
        name = f"ingest-{number}"
        command = [sys.executable, "-m", "services.ingest"]
        super().__init__(Program(name=name, command=command, log=directory / f"{name}.log", environment=environment))

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.launch()
        self.wait_until(lambda: http_status(f"http://127.0.0.1:{self._operations}/ready") == 200, deadline_s=60)


class AcceptedBatch(NamedTuple):
    """A batch that was accepted at some instant between these two."""

    sent_at: float
    answered_at: float
    records: int


@pytest.fixture
def replicas(installation: Installation, tmp_path: Path) -> Iterator[list[Replica]]:
    store = Valkey(tmp_path / "valkey")
    store.start()
    made = [Replica(installation, tmp_path, number=number, store=store.url) for number in (1, 2)]
    for each in made:
        each.start()
    yield made
    for each in made:
        each.stop()
    store.kill()


async def send_until_over(customer: Customer, taken: list[AcceptedBatch], *, is_over: Callable[[], bool]) -> None:
    """Send batches one after another until it is over or the process has died."""
    while not is_over():
        sent_at = monotonic()
        try:
            reply = await customer.send([customer.order() for _ in range(BATCH)])
        except aiohttp.ClientError:
            return
        assert reply.status in {202, 429}, reply
        if reply.status == 202:
            taken.append(AcceptedBatch(sent_at, monotonic(), BATCH))


def max_in_one_second(taken: Sequence[AcceptedBatch]) -> int:
    """Return the maximum number of records that were certainly accepted within one second."""
    return max(
        sum(
            other.records for other in taken if first.sent_at <= other.sent_at and other.answered_at < first.sent_at + 1
        )
        for first in taken
    )


async def test_two_processes_take_no_more_than_one_and_one_alone_takes_no_less(
    installation: Installation, session: aiohttp.ClientSession, replicas: list[Replica]
) -> None:
    """F29. Breaks: two ingest processes are flooded by one site; one of them dies by SIGKILL.

    Must hold: together they never accept more than the site's hundred records within a second; the survivor continues
    and has the whole limit. Known by all the responses and their times.
    """
    token = await Customer(installation.base, session).token("import")
    customers = [Customer(each.base, session, tokens={"import": token}) for each in replicas]
    taken: list[list[AcceptedBatch]] = [[], []]
    killed_at = monotonic() + PHASE_S
    async with asyncio.TaskGroup() as flood:
        for customer, own in zip(customers, taken, strict=True):
            for _ in range(WORKERS):
                flood.create_task(send_until_over(customer, own, is_over=lambda: monotonic() > killed_at + PHASE_S))
        await asyncio.sleep(PHASE_S)
        replicas[0].kill()
    assert min(map(len, taken)) > 0, "both accepted some"
    assert max_in_one_second([*taken[0], *taken[1]]) <= LIMIT
    alone = sum(each.records for each in taken[1] if each.sent_at > killed_at)
    assert alone >= LIMIT * (PHASE_S - 1)
