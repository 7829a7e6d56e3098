"""Validators at work: the catalogue as it changes, and two that share the load."""

import asyncio
from time import monotonic, time_ns
from uuid import uuid1

import pytest

from services.chassis.avro.wire_format import LENGTH
from services.jobs.events import JobRef, Judged
from services.sales.records import OrderLine
from services.sales.wire import job_event_codec, order_codec
from tests.chassis.eventually import until
from tests.events.conftest import StartValidator
from tests.events.harness import SCHEMAS, Installation, Sent, ValidatorProcess
from tests.validator.records import an_order, as_bytes, replace

pytestmark = pytest.mark.long

ORDERS_IN, JOBS = "orders.submitted.v1", "jobs.events.v1"
PARTITIONS = 4
_EVENTS = job_event_codec(SCHEMAS["job_event"].definition)
ORDER_CODEC = order_codec(SCHEMAS["order"].definition)


def an_order_of(job_id: str, index: int, total: int, product: str = "4556") -> bytes:
    now = time_ns() // 1000 - 1_000_000
    job = JobRef(job_id, index, total, now, "offline", "orders")
    made = an_order(id=f"{job_id}-{index}", job=job, accepted_at=now, date_time=now)
    line: OrderLine = made.line_items[0]
    return as_bytes(replace(made, line_items=[replace(line, product_id=product)]))


async def outcomes(installation: Installation, job_id: str) -> dict[int, str]:
    """What is known of a job: the first outcome told of each index."""
    found: dict[int, str] = {}
    for record in await installation.records(JOBS):
        if job_id.encode() not in record.value:
            continue
        event = _EVENTS.decode(record.value, start=LENGTH)
        assert isinstance(event.fact, Judged)
        for position, letter in enumerate(event.fact.run.outcomes, start=event.fact.run.first):
            found.setdefault(position, letter)
    return found


@pytest.mark.timeout(120)
async def test_a_product_that_is_withdrawn_or_added_counts_within_two_seconds(
    installation: Installation, start_validator: StartValidator
) -> None:
    validator = start_validator()
    await until(lambda: asyncio.to_thread(validator.is_ready), deadline_s=60)

    async def seconds_until(expected: str) -> float:
        """How long an order of the product goes on being judged otherwise."""
        began = monotonic()
        while True:
            job_id = str(uuid1())
            await asyncio.to_thread(installation.send, [Sent(ORDERS_IN, an_order_of(job_id, 0, 1, "of the day"))])

            async def is_judged(job_id: str = job_id) -> bool:
                return bool(await outcomes(installation, job_id))

            asked_at = monotonic()
            await until(is_judged, deadline_s=20)
            if (await outcomes(installation, job_id))[0] == expected:
                return asked_at - began
            assert monotonic() - began < 20

    await seconds_until("F")
    await asyncio.to_thread(installation.sell, "of the day")
    assert await seconds_until("S") < 2
    await asyncio.to_thread(installation.withdraw, "of the day")
    assert await seconds_until("F") < 2


class Jobs:
    """Jobs of direct producers: sent, and looked for in what the validators say of them."""

    size = 50

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self.sent: list[str] = []

    async def send(self, count: int) -> None:
        """Send so many more jobs, over all partitions."""
        fresh = [str(uuid1()) for _ in range(count)]
        records = [
            Sent(ORDERS_IN, an_order_of(job_id, index, self.size), partition=number % PARTITIONS)
            for number, job_id in enumerate(fresh)
            for index in range(self.size)
        ]
        await asyncio.to_thread(self._installation.send, records)
        self.sent += fresh

    async def are_all_told(self) -> bool:
        """Whether every record of every job was told to have succeeded; no record may be told anything else."""
        told: dict[str, set[int]] = {job_id: set() for job_id in self.sent}
        for record in await self._installation.records(JOBS):
            event = _EVENTS.decode(record.value, start=LENGTH)
            if event.job_id in told and isinstance(event.fact, Judged):
                run = event.fact.run
                assert set(run.outcomes) == {"S"}
                told[event.job_id].update(range(run.first, run.first + len(run.outcomes)))
        return all(len(indexes) == self.size for indexes in told.values())

    async def are_all_committed(self) -> bool:
        """Whether the group has nothing left to read."""
        return await asyncio.to_thread(self._installation.unread, ORDERS_IN, partitions=PARTITIONS) == 0

    async def are_all_passed_on(self) -> bool:
        """Whether every record is among the validated ones, as it was; one may be there twice."""
        found = {record.value for record in await self._installation.records("orders.validated.v1")}
        return len([value for value in found if _job_in(value) in self.sent]) == len(self.sent) * self.size


def _job_in(value: bytes) -> str | None:
    job = ORDER_CODEC.decode(value, start=LENGTH).job
    return None if job is None else job.job_id


async def two_that_are_ready(start_validator: StartValidator) -> tuple[ValidatorProcess, ValidatorProcess]:
    """Both have partitions: only then a member says that it is ready."""
    first, second = start_validator("validator-1"), start_validator("validator-2")
    await until(lambda: asyncio.to_thread(lambda: first.is_ready() and second.is_ready()), deadline_s=60)
    return first, second


@pytest.mark.timeout(180)
async def test_two_validators_share_the_load_and_the_one_that_is_left_takes_over(
    installation: Installation, start_validator: StartValidator
) -> None:
    """Static members; one is killed in mid-work: no job is lost, and the lag drains (F2)."""
    first, second = await two_that_are_ready(start_validator)
    jobs = Jobs(installation)
    await jobs.send(20)
    await asyncio.to_thread(second.kill)
    await jobs.send(20)
    await until(jobs.are_all_told, deadline_s=60)
    await until(jobs.are_all_committed, deadline_s=20)
    assert await jobs.are_all_passed_on()
    assert await asyncio.to_thread(first.is_ready)
    assert await asyncio.to_thread(first.is_live)


@pytest.mark.timeout(180)
async def test_a_validator_that_thaws_after_another_took_over_does_no_harm(
    installation: Installation, start_validator: StartValidator
) -> None:
    """F13: frozen in mid-work past its session. What it does late is what the other has done already (I1).

    It gives up its old place in the group, joins anew and shares the load again.
    """
    first, second = await two_that_are_ready(start_validator)
    jobs = Jobs(installation)
    await jobs.send(20)
    await asyncio.to_thread(second.freeze)
    await jobs.send(20)
    await until(jobs.are_all_told, deadline_s=60)
    await asyncio.to_thread(second.thaw)
    await jobs.send(20)
    await until(jobs.are_all_told, deadline_s=60)
    await until(jobs.are_all_committed, deadline_s=20)
    assert await jobs.are_all_passed_on()
    await until(lambda: asyncio.to_thread(lambda: first.is_ready() and second.is_ready()), deadline_s=60)
