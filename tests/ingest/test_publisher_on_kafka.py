"""The publisher on a real Kafka: the stored batches, and what happens without an acknowledgement."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from services import topics
from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.producer import Producer
from services.chassis.runtime.settings import REPOSITORY
from services.ingest.adapters import publisher as publishing
from services.ingest.adapters.publisher import KafkaPublisher
from services.ingest.flows.accept import JobAccepted, UnacknowledgedError, accept
from services.ingest.wire import Encoder
from services.jobs.codec import JobEventCodec
from services.jobs.events import Opened
from services.sales.wire import order_codec
from tests.chassis.kafka.kafka_fixtures import make_topics, read_all, settings
from tests.ingest.client import import_api
from tests.ingest.fakes import an_import_request, fake_deps, order
from tests.ingest.stored_batches import fetch_stored_batches

SCHEMAS = Schemas.load(REPOSITORY / "schemas")
ORDERS, JOBS = "ingest.test.orders", "ingest.test.jobs"


@pytest.fixture(scope="module")
async def kafka(kafka_bootstrap: str) -> str:
    await make_topics(
        kafka_bootstrap, {ORDERS: 4, JOBS: 4}, config={"max.message.bytes": str(topics.MAX_MESSAGE_BYTES)}
    )
    return kafka_bootstrap


@pytest.fixture
async def publisher(kafka: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KafkaPublisher]:
    monkeypatch.setattr(publishing, "JOB_EVENTS", JOBS)
    monkeypatch.setattr(publishing, "TOPICS", {"orders": ORDERS, "returns": ORDERS})
    producer = Producer(settings(kafka), client_id="ingest")
    await producer.start()
    await producer.wait_ready(15)
    yield KafkaPublisher(producer, Encoder(SCHEMAS))
    await producer.stop()


async def read_records_of(bootstrap: str, topic: str, job_id: str) -> list[ConsumerRecord]:
    """Read the job's records, in the order of their partition."""
    return [record for record in await read_all(bootstrap, topic) if job_id.encode() in (record.value or b"")]


async def accept_job(body: Any, publisher: KafkaPublisher) -> str:
    outcome = await accept(an_import_request(body), fake_deps([], publisher=publisher))
    assert isinstance(outcome, JobAccepted)
    return outcome.job.header.job_id


async def test_a_request_lies_in_one_batch_of_one_partition_in_order(kafka: str, publisher: KafkaPublisher) -> None:
    bodies = [order(id=f"o{number}", lineItems=[] if number == 5 else order()["lineItems"]) for number in range(50)]
    job = await accept_job(bodies, publisher)
    records = await read_records_of(kafka, ORDERS, job)
    assert len({record.partition for record in records}) == 1
    indexes = [index for index in range(50) if index != 5]
    assert [int(dict(record.headers)["index"]) for record in records] == indexes
    for record in records:
        headers = dict(record.headers)
        assert (headers["site"], headers["jobId"], headers["total"]) == (b"608", job.encode(), b"50")
    orders = order_codec(SCHEMAS["order"].definition, prefix=SCHEMAS["order"].prefix)
    decoded = [orders.decode(record.value, start=5) for record in records]
    assert [record.id for record in decoded] == [f"o{index}" for index in indexes]
    assert [record.job.index for record in decoded if record.job] == indexes
    batches = await fetch_stored_batches(kafka, ORDERS, partitions=4)
    own_batches = [batch for batch in batches[records[0].partition] if batch.base_offset == records[0].offset]
    assert [batch.records for batch in own_batches] == [49]


async def test_the_opening_holds_what_was_refused(kafka: str, publisher: KafkaPublisher) -> None:
    job = await accept_job([order(), order(id="bad", lineItems=[])], publisher)
    (opening,) = await read_records_of(kafka, JOBS, job)
    events = JobEventCodec(SCHEMAS["job_event"].definition, prefix=SCHEMAS["job_event"].prefix)
    event = events.decode(opening.value, start=5)
    assert opening.key == f"608|{job}".encode()
    assert (event.header.job_id, event.header.total, event.header.type) == (job, 2, "orders")
    assert isinstance(event.fact, Opened)
    assert event.fact.refused is not None
    assert (event.fact.refused.first, event.fact.refused.outcomes) == (1, "F")


def large_requests() -> dict[str, list[dict[str, Any]]]:
    """Return requests of 4 MiB: with as many lines, or as long ids, as allowed."""
    many = {"productId": "p" * 38, "quantity": 1, "unitPrice": 1}
    long = {"productId": "p" * 128, "skuId": "s" * 128, "quantity": 2**31 - 1, "unitPrice": "123456789012.123456"}
    ids = {"userId": "u" * 256, "storeId": "s" * 256, "channel": "c" * 128}
    return {
        "lines": [order(id=f"{n:0128d}", lineItems=[many] * 500) for n in range(100)],
        "ids": [order(id=f"{n:0128d}", **ids, lineItems=[long] * 117) for n in range(100)],
    }


@pytest.mark.parametrize("what", ["lines", "ids"])
async def test_the_largest_legal_request_fits(kafka: str, publisher: KafkaPublisher, what: str) -> None:
    text = json.dumps(large_requests()[what], separators=(",", ":")).encode()
    assert 0.96 < len(text) / (4 * 1024 * 1024) <= 1
    async with import_api() as client:
        client.publisher.publish = publisher.publish  # type: ignore[method-assign]
        wire = gzip.compress(text, 9)
        assert len(wire) <= 102_400
        response = await client.send(wire)
        assert response.status == 202, response.body
        assert response.json["message"] == "Total records = 100. Success = 100. Failed = 0"
    records = await read_records_of(kafka, ORDERS, response.json["jobId"])
    assert len(records) == 100
    batches = await fetch_stored_batches(kafka, ORDERS, partitions=4)
    assert any(batch == (records[0].offset, 100) for batch in batches[records[0].partition])


async def test_the_largest_job_of_bad_records_fits(kafka: str, publisher: KafkaPublisher) -> None:
    """The opened events carry the rejected records, split into events of bounded size."""
    line = {"productId": "p" * 38, "quantity": 0, "unitPrice": 1}
    bad = [order(id=f"{n:0128d}", lineItems=[line] * 500) for n in range(100)]
    job = await accept_job(bad, publisher)
    openings = await read_records_of(kafka, JOBS, job)
    assert len(openings) > 1
    events = JobEventCodec(SCHEMAS["job_event"].definition, prefix=SCHEMAS["job_event"].prefix)
    outcomes = "".join(
        event.fact.refused.outcomes
        for opening in openings
        if isinstance((event := events.decode(opening.value, start=5)).fact, Opened) and event.fact.refused
    )
    assert outcomes == "F" * 100


async def test_single_records_meet_in_batches(kafka: str, publisher: KafkaPublisher) -> None:
    before = await fetch_stored_batches(kafka, ORDERS, partitions=4)
    deps = fake_deps([], publisher=publisher)
    puts = [accept(an_import_request(order(id=f"put{n}"), records_per_second=1_000), deps) for n in range(60)]
    assert all(isinstance(outcome, JobAccepted) for outcome in await asyncio.gather(*puts))
    after = await fetch_stored_batches(kafka, ORDERS, partitions=4)
    assert sum(map(len, after.values())) - sum(map(len, before.values())) <= 5
    assert len([r for r in await read_all(kafka, ORDERS) if b"|put" in (r.key or b"")]) == 60


async def test_a_broker_that_is_away_is_an_unknown_outcome(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "JOB_EVENTS", JOBS)
    producer = Producer(settings("127.0.0.1:1", kafka_send_timeout_s=0.2), client_id="ingest")
    await producer.start()
    try:
        with pytest.raises(UnacknowledgedError) as unknown:
            await accept_job([order()], KafkaPublisher(producer, Encoder(SCHEMAS)))
        assert unknown.value.job_id
    finally:
        await producer.stop()
    assert kafka
