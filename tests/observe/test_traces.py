"""The trace of one request: over HTTP, through Kafka, and in the logs."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.chassis.eventually import until
from tests.e2e.customer import DEMO, Customer, Reply
from tests.e2e.installation import Installation

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SENT = {"traceparent": TRACE, "X-Request-Id": "trace-test-1"}
PARTITIONS = 12
EXPECTED_RECORDS = [
    ("orders.submitted.v1", 2),
    ("orders.validated.v1", 1),
    ("records.rejected.v1", 1),
    ("jobs.events.v1", 2),
    ("fulfilment.transactions.v1", 1),
    ("fulfilment.codes.v1", 1),
]


@pytest.fixture(scope="module")
async def reply(watched: Installation) -> AsyncIterator[Reply]:
    """The response to a traced import of a valid order and one with an unknown product, whose job has ended.

    An order of codes with the same trace was placed, too.
    """
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=40)) as session:
        customer = Customer(watched.base, session, DEMO)
        unknown = {"lineItems": [{"productId": "product3", "quantity": 1, "unitPrice": 1}]}
        sent = await customer.send_with_retry([customer.order(), customer.order(**unknown)], headers=dict(SENT))
        await customer.wait_for_job(sent.json["jobId"])
        bought = await customer.order_code("DEMO-INSTANT", headers=SENT)
        assert bought.status == 202, bought
        yield sent


async def count_traced(bootstrap: str, topic: str) -> int:
    """Return the number of records of the topic that belong to the trace."""
    kafka = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    await kafka.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        kafka.assign(partitions)
        ends = await kafka.end_offsets(partitions)
        found = 0
        while any([await kafka.position(partition) < end for partition, end in ends.items()]):
            for records in (await kafka.getmany(timeout_ms=200)).values():
                found += sum(("traceparent", TRACE.encode()) in record.headers for record in records)
    finally:
        await kafka.stop()
    return found


def log_lines(watched: Installation, service: str) -> list[dict[str, Any]]:
    """Parse a service's log, each line of which must be a JSON object."""
    text = (watched.directory / "logs" / f"{service}.log").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_the_answer_carries_the_callers_request_id(reply: Reply) -> None:
    assert reply.status == 202
    assert reply.headers["x-request-id"] == SENT["X-Request-Id"]


@pytest.mark.parametrize(("topic", "minimum"), EXPECTED_RECORDS)
async def test_each_record_that_follows_carries_the_trace(
    endpoints: dict[str, Any], reply: Reply, topic: str, minimum: int
) -> None:
    assert reply.status == 202

    async def all_are_there() -> bool:
        return await count_traced(endpoints["kafka_bootstrap_servers"], topic) >= minimum

    await until(all_are_there)


async def test_the_log_tells_request_job_and_trace(watched: Installation, reply: Reply) -> None:
    job = reply.json["jobId"]

    def line_is_there() -> bool:
        return any(
            line.get("jobId") == job and line["message"] == "job accepted" for line in log_lines(watched, "ingest")
        )

    await until(line_is_there)
    (line,) = [line for line in log_lines(watched, "ingest") if line.get("jobId") == job]
    assert line["requestId"] == SENT["X-Request-Id"]
    assert line["traceparent"] == TRACE


@pytest.mark.parametrize("service", ["auth", "ingest", "validator", "status", "fulfilment", "ledger", "webhooks"])
def test_every_line_of_every_log_is_json_and_names_its_service(watched: Installation, service: str) -> None:
    assert {line["service"] for line in log_lines(watched, service)} == {service}
