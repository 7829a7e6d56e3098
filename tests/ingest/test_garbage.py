"""A request is freed with its response: what is part of a cycle stays until the next collection, which is rare."""

from typing import Any

import pytest

from services.ingest.adapters.publisher import JOB_EVENTS, KafkaPublisher
from services.ingest.wire import Encoder
from tests.chassis.eventually import until
from tests.ingest.client import import_api
from tests.ingest.fakes import order
from tests.ingest.test_publisher import ORDERS, SCHEMAS, FakeProducer
from tests.support.garbage import collected_types

REQUESTS: dict[str, dict[str, Any]] = {
    "a common record": {"body": order(), "user": "u1"},
    "one record": {"body": [order()]},
    "two records": {"body": [order(), order(id="o2")]},
    "a rejected record": {"body": [order(), order(lineItems=[])]},
    "an idempotency key": {"body": [order()], "headers": {"Idempotency-Key": "k"}},
}


@pytest.mark.parametrize(
    "unavailable",
    [set(), {ORDERS}, {JOB_EVENTS}, {ORDERS, JOB_EVENTS}],
    ids=["available", "orders", "events", "both"],
)
@pytest.mark.parametrize("sent", REQUESTS.values(), ids=REQUESTS)
async def test_a_request_is_freed_with_its_response(sent: dict[str, Any], unavailable: set[str]) -> None:
    producer = FakeProducer([])
    publisher = KafkaPublisher(producer, Encoder(SCHEMAS))  # type: ignore[arg-type]
    producer.unavailable = unavailable
    async with import_api(publisher=publisher) as client:
        with collected_types() as found:
            response = await client.send(**sent)
            await until(lambda: publisher._batcher.is_idle)
    assert response.status == (503 if unavailable else 202)
    assert not found
