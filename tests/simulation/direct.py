"""A Kafka producer outside the installation that submits records of a job of its own, without ingest."""

import asyncio
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from msgspec.structs import replace

from services import topics
from services.jobs.events import JobRef
from services.sales.wire import build_key, order_codec
from services.values.time_uuids import time_uuid
from tests.faults.checker.ledger import Fate
from tests.sales.samples import an_order
from tests.simulation import setup
from tests.simulation.broker import Batch, Entry
from tests.simulation.virtual_time import true_time_s

if TYPE_CHECKING:
    from tests.faults.checker.clients import Clients
    from tests.simulation.installation import Installation

MAX_BATCH = 100


async def submit_directly(
    installation: "Installation", number: int, records: Mapping[str, Fate], clients: "Clients"
) -> str:
    """Append the records to both partitions in turn, and return the job's id."""
    rng = random.Random(f"direct {number}")
    now_us = int(true_time_s() * 1_000_000)
    job_id = time_uuid(now_us, clock_seq=rng.getrandbits(14), node=rng.getrandbits(48))
    schema = setup.all_schemas()["order"]
    codec = order_codec(schema.definition)
    entries = []
    for index, (order_id, fate) in enumerate(records.items()):
        product = "no-such-product" if fate is Fate.REJECTED else clients.product
        order = an_order(site=608, job=JobRef(job_id, index, len(records), now_us, "offline", "orders"))
        line = replace(order.line_items[0], product_id=product)
        order = replace(order, id=order_id, accepted_at=now_us, date_time=now_us - 1, line_items=[line])
        order = replace(order, email_hash=clients.new_secret(order_id))
        value = schema.prefix + codec.encode(order)
        headers = {"site": "608", "jobId": job_id, "total": str(len(records)), "index": str(index)}
        entries.append(
            Entry(
                build_key(608, order.channel, order_id),
                value[:-3] if fate is Fate.POISON else value,
                tuple((name, text.encode()) for name, text in headers.items()),
            )
        )
    producer = installation.kafka.new_producer()
    for sequence, start in enumerate(range(0, len(entries), MAX_BATCH)):
        where = TopicPartition(topics.ORDERS_SUBMITTED.name, sequence % 2)
        batch = Batch(producer, sequence // 2, tuple(entries[start : start + MAX_BATCH]))
        await _append(installation, where, batch)
    return job_id


async def _append(installation: "Installation", where: TopicPartition, batch: Batch) -> None:
    """Append until it is acknowledged: this producer is patient, and starts again with another id when it is fenced."""
    while True:
        try:
            await installation.kafka.append(where, batch, waits_for_replicas=True)
        except KafkaError as error:
            if not error.retriable:
                batch = Batch(installation.kafka.new_producer(), 0, batch.entries)
            await asyncio.sleep(0.1)
        else:
            return
