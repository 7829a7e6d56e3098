"""Submitted records, as written by ingest, by other producers, and by broken or hostile ones."""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from aiokafka import TopicPartition
from msgspec.structs import replace

from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.record_format import FetchedRecord, RecordHeaders, encode_headers
from services.chassis.runtime.settings import REPOSITORY
from services.jobs.events import JobRef
from services.sales.records import Order, Return
from services.sales.wire import order_codec, return_codec
from services.validator.domain.submitted_record import Headers, SubmittedRecord
from tests.sales.samples import NOW_US, a_return, an_order

SCHEMAS = Schemas.load(REPOSITORY / "schemas")
ORDERS_IN, RETURNS_IN = "orders.submitted.v1", "returns.submitted.v1"
JOB_ID = "f29dd805-0156-11ee-ad68-7d780afc9f2c"
OTHER_JOB_ID = "63d13c0d-0167-11ee-b91c-b9178e343914"
NOW_MS = NOW_US // 1000

_ORDERS = order_codec(SCHEMAS["order"].definition, prefix=SCHEMAS["order"].prefix)
_RETURNS = return_codec(SCHEMAS["return"].definition, prefix=SCHEMAS["return"].prefix)
_OFFSETS = count(100)

Poll = Mapping[TopicPartition, Sequence[FetchedRecord]]

__all__ = ["NOW_US", "a_return", "an_order", "replace"]


def a_job(index: int = 0, total: int = 3, **changes: Any) -> JobRef:
    reference = JobRef(JOB_ID, index, total, NOW_US, "offline", "orders")
    return replace(reference, **changes)


def as_bytes(record: Order | Return) -> bytes:
    return _ORDERS.encode(record) if isinstance(record, Order) else _RETURNS.encode(record)


def job_headers(
    job_id: str = JOB_ID, *, site: int | str = 608, total: int | str = 3, index: int | str = 0
) -> tuple[tuple[str, bytes], ...]:
    """Return headers that name a job, as ingest writes them."""
    headers = {"site": site, "jobId": job_id, "total": total, "index": index}
    return tuple((name, str(value).encode()) for name, value in headers.items())


def a_submitted_record(
    value: bytes | Order | Return | None,
    *,
    kind: str = "orders",
    headers: Headers = (),
    key: bytes | None = b"608|web|1",
    timestamp: int = NOW_MS,
) -> SubmittedRecord:
    topic = ORDERS_IN if kind == "orders" else RETURNS_IN
    content = value if isinstance(value, bytes | None) else as_bytes(value)
    return SubmittedRecord(kind, topic, 0, next(_OFFSETS), timestamp, key, content, headers)


def a_consumer_record(
    value: bytes | Order | Return | None,
    offset: int,
    *,
    topic: str = ORDERS_IN,
    partition: int = 0,
    headers: Headers = (),
    key: bytes | None = b"608|web|1",
    is_broker_time: bool = False,
) -> FetchedRecord:
    content = value if isinstance(value, bytes | None) else as_bytes(value)
    encoded = RecordHeaders(encode_headers(headers))
    return FetchedRecord(topic, partition, offset, NOW_MS, int(is_broker_time), key, content, encoded)


def a_poll(*values: bytes | Order | Return | None, first: int = 0, partition: int = 0, topic: str = ORDERS_IN) -> Poll:
    """Return a poll of one partition, with consecutive offsets."""
    records = [
        a_consumer_record(value, first + position, partition=partition, topic=topic)
        for position, value in enumerate(values)
    ]
    return {TopicPartition(topic, partition): records}
