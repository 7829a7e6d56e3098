"""Recording of sales, from polled bytes to committed entries, compared with bare upserts of the same documents."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition
from pymongo import ReplaceOne

from bench.ledger_sales import document_of, orders
from services import topics
from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.consumer import Poll
from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.runtime.settings import REPOSITORY
from services.ledger.adapters.collections import ENTRIES
from services.ledger.app import FOLD_INTERVAL_S
from services.ledger.wire.records import RecordReader
from services.ledger.worker import LANES, PORTION, Worker
from services.sales.records import Order
from services.sales.wire import order_codec
from tests.ledger.harness import Harness, open_mongo

SCHEMAS = Schemas.load(REPOSITORY / "schemas")
POLL_RECORDS, PARTITIONS = 4_000, 12


@dataclass(frozen=True)
class Measurement:
    """One run: seconds and CPU seconds of the ledger, folding included, and seconds of the bare upserts."""

    records: int
    wall_s: float
    cpu_s: float
    bare_s: float

    @property
    def ratio(self) -> float:
        """The ledger's rate relative to the bare upserts."""
        return self.bare_s / self.wall_s


async def measure_recording(uri: str, driver: str, *, count: int, rounds: int, days: int) -> None:
    """Alternate the ledger and bare upserts, and print medians; the first round warms up."""
    runs = [
        await _run_once(uri, driver, orders(count, first=number * count, days=days)) for number in range(rounds + 1)
    ]
    measured = runs[1:]
    ratios = [run.ratio for run in measured]
    print(
        f"recording, {driver}, days of {'a year' if days > 7 else 'a week'}: "
        f"{median(count / run.wall_s for run in measured):,.0f} orders/s, "
        f"{median(run.cpu_s for run in measured) / count * 1e6:.0f} us CPU each, fold included; "
        f"bare upsert {median(count / run.bare_s for run in measured):,.0f}/s; "
        f"ratio {median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
        flush=True,
    )


async def _run_once(uri: str, driver: str, records: Sequence[Order]) -> Measurement:
    polls = build_polls(records)
    async with open_mongo(uri, driver) as mongo:
        harness = Harness(mongo)
        worker = build_worker(harness)

        async def work() -> None:
            for poll in polls:
                await worker.handle(poll)

        folding = asyncio.create_task(fold_for_ever(harness))
        wall_s, cpu_s = await _timed(work)
        await end(folding)
    made = [document_of(record) for record in records]
    async with open_mongo(uri, driver) as mongo:
        bare_s, _ = await _timed(lambda: _bare_upserts(mongo.collection(ENTRIES), made))
    return Measurement(len(records), wall_s, cpu_s, bare_s)


async def _bare_upserts(collection: Any, made: Sequence[dict[str, Any]]) -> None:
    portions = [made[start : start + PORTION] for start in range(0, len(made), PORTION)]

    async def lane(number: int) -> None:
        for portion in portions[number::LANES]:
            operations = [ReplaceOne({"_id": each["_id"]}, each, upsert=True) for each in portion]
            await collection.bulk_write(operations, ordered=False)

    await asyncio.gather(*map(lane, range(LANES)))


def build_polls(records: Sequence[Order]) -> list[Poll]:
    """Return the orders as a consumer's polls, spread over its partitions."""
    schema = SCHEMAS["order"]
    codec = order_codec(schema.definition, prefix=schema.prefix)
    polls: list[Poll] = []
    for start in range(0, len(records), POLL_RECORDS):
        poll: dict[TopicPartition, list[ConsumerRecord]] = {}
        for offset, record in enumerate(records[start : start + POLL_RECORDS], start):
            partition = TopicPartition(topics.ORDERS_VALIDATED.name, offset % PARTITIONS)
            value = codec.encode(record)
            poll.setdefault(partition, []).append(ConsumerRecord(*partition, offset, 0, 0, b"", value, None, 0, 0, ()))
        polls.append(poll)
    return polls


def build_worker(harness: Harness) -> Worker:
    """Build the ledger's worker without Kafka on either side."""
    return Worker(
        harness.record_deps,
        reader=RecordReader(SCHEMAS),
        dead_letters=FakeDeadLetters(),
        dead_letter_limit=DeadLetterLimit(max_consecutive=1, window=2, max_ratio=1.0),
        add_partitions=harness.ledger.add_partitions,
    )


class FakeDeadLetters:
    """Fails: all records are valid."""

    async def send(self, letters: object) -> None:
        """Raise."""
        raise AssertionError(letters)


async def fold_for_ever(harness: Harness) -> None:
    """Fold movements as they come."""
    while True:
        folded = await harness.sums.fold()
        await asyncio.sleep(0 if folded.has_more else FOLD_INTERVAL_S)


async def end(task: "asyncio.Task[None]") -> None:
    """Cancel the task and wait for its end."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.5)


async def _timed(work: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    return time.perf_counter() - wall, time.process_time() - cpu
