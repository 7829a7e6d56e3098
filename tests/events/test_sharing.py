"""Validators as processes: catalogue changes, and two members that share the load."""

import asyncio
from time import monotonic, time_ns
from uuid import uuid1

import pytest

from services.chassis.avro.wire_format import LENGTH
from services.jobs.codec import JobEventCodec
from services.jobs.events import JobRef, Judged
from services.sales.records import OrderLine
from services.sales.wire import order_codec
from tests.chassis.eventually import until
from tests.events.conftest import StartValidator
from tests.events.harness import SCHEMAS, KafkaHarness, OutgoingRecord, ValidatorProcess
from tests.validator.records import an_order, as_bytes, replace

pytestmark = pytest.mark.long

ORDERS_IN, JOBS = "orders.submitted.v1", "jobs.events.v1"
PARTITIONS = 4
_EVENTS = JobEventCodec(SCHEMAS["job_event"].definition)
ORDER_CODEC = order_codec(SCHEMAS["order"].definition)


def an_order_of(job_id: str, index: int, total: int, product: str = "4556") -> bytes:
    now = time_ns() // 1000 - 1_000_000
    job = JobRef(job_id, index, total, now, "offline", "orders")
    made = an_order(id=f"{job_id}-{index}", job=job, accepted_at=now, date_time=now)
    line: OrderLine = made.line_items[0]
    return as_bytes(replace(made, line_items=[replace(line, product_id=product)]))


async def outcomes(harness: KafkaHarness, job_id: str) -> dict[int, str]:
    """Return the first published outcome of each index of a job."""
    found: dict[int, str] = {}
    for record in await harness.records(JOBS):
        if job_id.encode() not in record.value:
            continue
        event = _EVENTS.decode(record.value, start=LENGTH)
        assert isinstance(event.fact, Judged)
        for index, outcome in enumerate(event.fact.run.outcomes, start=event.fact.run.first):
            found.setdefault(index, outcome)
    return found


@pytest.mark.timeout(120)
async def test_a_product_that_is_withdrawn_or_added_counts_within_two_seconds(
    harness: KafkaHarness, start_validator: StartValidator
) -> None:
    validator = start_validator()
    await until(lambda: asyncio.to_thread(validator.is_ready), deadline_s=60)

    async def seconds_until(expected: str) -> float:
        """Return how long orders of the product still get another verdict."""
        began = monotonic()
        while True:
            job_id = str(uuid1())
            await asyncio.to_thread(harness.send, [OutgoingRecord(ORDERS_IN, an_order_of(job_id, 0, 1, "of the day"))])

            async def is_judged(job_id: str = job_id) -> bool:
                return bool(await outcomes(harness, job_id))

            asked_at = monotonic()
            await until(is_judged, deadline_s=20)
            if (await outcomes(harness, job_id))[0] == expected:
                return asked_at - began
            assert monotonic() - began < 20

    await seconds_until("F")
    await asyncio.to_thread(harness.add_products, "of the day")
    assert await seconds_until("S") < 2
    await asyncio.to_thread(harness.remove_products, "of the day")
    assert await seconds_until("F") < 2


class Jobs:
    """Jobs of direct producers, and their verdicts."""

    size = 50

    def __init__(self, harness: KafkaHarness) -> None:
        self._installation = harness
        self.sent: list[str] = []

    async def send(self, count: int) -> None:
        """Send `count` more jobs, over all partitions."""
        fresh = [str(uuid1()) for _ in range(count)]
        records = [
            OutgoingRecord(ORDERS_IN, an_order_of(job_id, index, self.size), partition=number % PARTITIONS)
            for number, job_id in enumerate(fresh)
            for index in range(self.size)
        ]
        await asyncio.to_thread(self._installation.send, records)
        self.sent += fresh

    async def have_all_succeeded(self) -> bool:
        """Whether every record of every job succeeded; asserts that none got another outcome."""
        succeeded: dict[str, set[int]] = {job_id: set() for job_id in self.sent}
        for record in await self._installation.records(JOBS):
            event = _EVENTS.decode(record.value, start=LENGTH)
            if event.header.job_id in succeeded and isinstance(event.fact, Judged):
                run = event.fact.run
                assert set(run.outcomes) == {"S"}
                succeeded[event.header.job_id].update(range(run.first, run.first + len(run.outcomes)))
        return all(len(indexes) == self.size for indexes in succeeded.values())

    async def are_all_committed(self) -> bool:
        """Whether the group has committed all records."""
        return await asyncio.to_thread(self._installation.uncommitted, ORDERS_IN, partitions=PARTITIONS) == 0

    async def are_all_validated(self) -> bool:
        """Whether every record was forwarded unchanged; duplicates are allowed."""
        found = {record.value for record in await self._installation.records("orders.validated.v1")}
        return len([value for value in found if _job_in(value) in self.sent]) == len(self.sent) * self.size


def _job_in(value: bytes) -> str | None:
    job = ORDER_CODEC.decode(value, start=LENGTH).job
    return None if job is None else job.job_id


async def start_two_validators(start_validator: StartValidator) -> tuple[ValidatorProcess, ValidatorProcess]:
    """Start two validators and wait until both have partitions, which readiness requires."""
    first, second = start_validator("validator-1"), start_validator("validator-2")
    await until(lambda: asyncio.to_thread(lambda: first.is_ready() and second.is_ready()), deadline_s=60)
    return first, second


@pytest.mark.timeout(180)
async def test_two_validators_share_the_load_and_the_one_that_is_left_takes_over(
    harness: KafkaHarness, start_validator: StartValidator
) -> None:
    """Static members; one is killed while it works: no job is lost, and the lag drains (F2)."""
    first, second = await start_two_validators(start_validator)
    jobs = Jobs(harness)
    await jobs.send(20)
    await asyncio.to_thread(second.kill)
    await jobs.send(20)
    await until(jobs.have_all_succeeded, deadline_s=60)
    await until(jobs.are_all_committed, deadline_s=20)
    assert await jobs.are_all_validated()
    assert await asyncio.to_thread(first.is_ready)
    assert await asyncio.to_thread(first.is_live)


@pytest.mark.timeout(180)
async def test_a_validator_that_thaws_after_another_took_over_does_no_harm(
    harness: KafkaHarness, start_validator: StartValidator
) -> None:
    """F13: stopped while it works, for longer than its session. Its late work repeats what the other has done (I1).

    It leaves its old membership, rejoins and shares the load again.
    """
    first, second = await start_two_validators(start_validator)
    jobs = Jobs(harness)
    await jobs.send(20)
    await asyncio.to_thread(second.freeze)
    await jobs.send(20)
    await until(jobs.have_all_succeeded, deadline_s=60)
    await asyncio.to_thread(second.thaw)
    await jobs.send(20)
    await until(jobs.have_all_succeeded, deadline_s=60)
    await until(jobs.are_all_committed, deadline_s=20)
    assert await jobs.are_all_validated()
    await until(lambda: asyncio.to_thread(lambda: first.is_ready() and second.is_ready()), deadline_s=60)
