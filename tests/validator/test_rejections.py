"""Rejections: what they contain, and that every record can be rejected."""

import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from aiokafka import TopicPartition
from fastavro import parse_schema, schemaless_reader

from services import topics
from services.chassis.avro.wire_format import LENGTH, prefix
from services.chassis.kafka.producer import ProducerRecord
from services.sales.records import Order, OrderLine, Return
from services.validator.worker import Worker
from tests.validator.fakes import a_harness
from tests.validator.records import (
    JOB_ID,
    NOW_US,
    ORDERS_IN,
    RETURNS_IN,
    SCHEMAS,
    a_consumer_record,
    a_job,
    a_return,
    an_order,
)

_SCHEMA = SCHEMAS["record_rejected"]
_MANY = "x" * 3_000_000
_NOW = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=NOW_US)


async def reject(record: Order | Return, *, offset: int = 41, partition: int = 3, **options: Any) -> ProducerRecord:
    """Judge one record, and return its rejection."""
    harness = a_harness([])
    topic = ORDERS_IN if isinstance(record, Order) else RETURNS_IN
    item = a_consumer_record(record, offset, topic=topic, partition=partition, **options)
    await Worker(harness.deps, harness.dead_letter_limit).handle({TopicPartition(topic, partition): [item]})
    (sent,) = harness.published(topics.RECORDS_REJECTED.name)
    return sent


def decode(sent: ProducerRecord) -> Any:
    value = sent.value or b""
    assert value.startswith(prefix(_SCHEMA.schema_id))
    return schemaless_reader(io.BytesIO(value[LENGTH:]), parse_schema(dict(_SCHEMA.definition)), None)


def not_found(position: int, product_id: str) -> dict[str, Any]:
    return {
        "code": "PRODUCT_NOT_FOUND",
        "field": f"/lineItems/{position}/productId",
        "message": f"No product is found for product ID {product_id}",
        "level": "WARNING",
        "productId": product_id,
        "retryable": True,
    }


async def test_a_refused_order_is_told_with_its_place_its_origin_and_all_its_faults() -> None:
    lines = [OrderLine(product, None, 1, Decimal(1)) for product in ("4556", "6024383", "product3", "6024383")]
    order = an_order(job=a_job(2, 7), accepted_at=NOW_US - 5, currency="usd", line_items=lines)
    sent = await reject(order, key=b"their key")
    assert sent.key == b"their key"
    assert decode(sent) == {
        "site": 608,
        "type": "orders",
        "jobId": JOB_ID,
        "index": 2,
        "originTopic": ORDERS_IN,
        "originPartition": 3,
        "originOffset": 41,
        "channel": "6a700f55b7059e38",
        "orderId": "1723ABC",
        "returnId": None,
        "at": _NOW,
        "faults": [
            {
                "code": "INVALID_CURRENCY",
                "field": "/currency",
                "message": "currency must be an ISO 4217 currency code",
                "level": "WARNING",
                "productId": None,
                "retryable": False,
            },
            not_found(1, "6024383"),
            not_found(2, "product3"),
        ],
    }


async def test_a_refused_return_without_a_job_is_told_with_both_ids() -> None:
    rejection = decode(await reject(a_return()))
    assert (rejection["type"], rejection["originTopic"]) == ("returns", RETURNS_IN)
    assert (rejection["orderId"], rejection["returnId"], rejection["jobId"], rejection["index"]) == (
        "13",
        "15",
        None,
        None,
    )
    assert rejection["faults"] == [not_found(0, "content__662")]


async def test_no_more_than_twenty_faults_are_told() -> None:
    lines = [OrderLine(f"unknown {number}", None, 0, Decimal(1)) for number in range(15)]
    codes = [fault["code"] for fault in decode(await reject(an_order(line_items=lines)))["faults"]]
    assert codes == ["INVALID_QUANTITY"] * 15 + ["PRODUCT_NOT_FOUND"] * 5


@pytest.mark.parametrize(
    ("record", "options"),
    [
        (an_order(id=_MANY), {}),
        (an_order(id=_MANY), {"key": None}),
        (an_order(id="|" * 3_000_000), {"key": b""}),
        (an_order(channel=_MANY), {"key": None}),
        (a_return(order_id=_MANY, return_id=_MANY[1:]), {"key": None}),
        (an_order(currency="usd"), {"key": _MANY.encode()}),
        (an_order(currency="usd"), {"headers": (("ce_id", _MANY.encode()),)}),
        (an_order(currency="usd"), {"headers": (("traceparent", b"x"),) * 100_000}),
        (an_order(segment_ids=[_MANY], line_items=[]), {}),
    ],
    ids=[
        "long id",
        "long id without key",
        "id to be escaped",
        "long channel",
        "long ids of a return",
        "long key",
        "long header",
        "many headers",
        "long segment",
    ],
)
async def test_a_refusal_fits_into_its_topic_whatever_was_sent(record: Any, options: dict[str, Any]) -> None:
    """A record that can be neither validated nor rejected would block its partition for ever."""
    sent = await reject(record, **options)
    headers = sum(len(name) + len(value or b"") for name, value in sent.headers)
    size = len(sent.key or b"") + len(sent.value or b"") + headers
    assert size < topics.RECORDS_REJECTED.max_message_bytes - 64 * 1024
    assert sent.key
    rejection = decode(sent)
    assert (rejection["originPartition"], rejection["originOffset"]) == (3, 41)
    assert rejection["faults"]
