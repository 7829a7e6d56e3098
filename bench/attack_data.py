"""What the attackers of `bench.attacks` ask for: large jobs and lists, large orders, a long day."""

import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from msgspec.structs import replace
from pymongo import MongoClient
from pymongo.collection import Collection

from bench.query_latency import build_writer
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.clock import now_us
from services.chassis.runtime.settings import MongoSettings
from services.fulfilment.domain.ids import derive_id
from services.jobs.events import JobEvent, JobHeader, JobKey, Judged, Opened, OutcomeRun
from services.status.adapters.job_store import MongoJobStore
from services.status.flows.apply_events import apply_events
from tests.jobs.events import a_failure, no_product

ATTACKED_SITE = 608
DATABASE = "tillstream"
LARGE_RECORDS, RECORD_BYTES, LISTED_JOBS = 2_000, 14_000, 10_000
LARGE_ORDERS, ORDER_LINES = 1_000, 100
DAY_TRANSACTIONS = 200_000
_BATCH = 2_000


async def fill_status(uri: str) -> str:
    """Store a job of large faulty records and thousands of small jobs; return the large one's id."""
    mongo = Mongo.connect(MongoSettings(mongodb_uri=uri, mongodb_database=DATABASE), retry_writes=False)
    store = MongoJobStore(mongo, now=lambda: datetime.now(UTC))
    deps = build_writer(store)
    large = _header(LARGE_RECORDS)
    for first in range(0, LARGE_RECORDS, 100):
        await apply_events([_failed_records(large, first, 100)], deps)
    for _ in range(0, LISTED_JOBS, _BATCH):
        headers = [_header(1) for _ in range(_BATCH)]
        await apply_events([event for header in headers for event in _small_job(header)], deps)
    await mongo.close()
    return large.job_id


def _header(total: int) -> JobHeader:
    return JobHeader(JobKey(ATTACKED_SITE, str(uuid4())), total, now_us(), "offline", "orders")


def _small_job(header: JobHeader) -> tuple[JobEvent, JobEvent]:
    at = header.created_at
    return JobEvent(header, at, Opened(None)), JobEvent(header, at, Judged(OutcomeRun(0, "S")))


def _failed_records(header: JobHeader, first: int, count: int) -> JobEvent:
    failures = [
        replace(a_failure(index, no_product()), record=json.dumps({"id": f"o{index}", "note": "x" * RECORD_BYTES}))
        for index in range(first, first + count)
    ]
    return JobEvent(header, header.created_at, Judged(OutcomeRun(first, "F" * count, "", failures)))


def fill_orders(uri: str, transaction_id: str) -> None:
    """Copy a transaction many times, each copy with many lines."""
    transactions = _collection(uri, "transactions")
    original = _find(transactions, transaction_id)
    lines = [original["lines"][0] | {"sku": f"SKU-{number}", "name": "N" * 100} for number in range(ORDER_LINES)]
    _insert(transactions, (_copy(original, 10**6 + number, lines=lines) for number in range(LARGE_ORDERS)))


def fill_day(uri: str, transaction_id: str) -> str:
    """Store a day of many transactions that ended yesterday; return its purchase order, which is closed at once."""
    orders, transactions = _collection(uri, "purchase_orders"), _collection(uri, "transactions")
    original = _find(transactions, transaction_id)
    order = _find(orders, original["purchase_order"])
    day = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    order_id = derive_id("purchase-order", order["site"], day, order["currency"])
    _insert(
        transactions,
        (_copy(original, number, purchase_order=order_id) for number in range(1, DAY_TRANSACTIONS + 1)),
    )
    orders.insert_one(
        order | {"_id": order_id, "business_date": day, "last_sequence": DAY_TRANSACTIONS, "state": "OPEN"}
    )
    return order_id


def is_closed(uri: str, order_id: str) -> bool:
    """Whether the purchase order has its invoice."""
    return bool(_find(_collection(uri, "purchase_orders"), order_id)["state"] == "CLOSED")


def _collection(uri: str, name: str) -> Collection[dict[str, Any]]:
    return MongoClient[dict[str, Any]](uri)[DATABASE][name]


def _find(collection: Collection[dict[str, Any]], document_id: str) -> dict[str, Any]:
    found = collection.find_one({"_id": document_id})
    if found is None:
        raise LookupError(document_id)
    return found


def _copy(original: dict[str, Any], sequence: int, **changes: Any) -> dict[str, Any]:
    document = copy.copy(original) | {"_id": str(uuid4()), "sequence": sequence} | changes
    # Nothing of it is due, published or unique.
    for name in ("unique_order_number", "outbox", "due", "pending", "waiting_for_skus"):
        document.pop(name, None)
    return document


def _insert(collection: Collection[dict[str, Any]], documents: Iterator[dict[str, Any]]) -> None:
    batch: list[dict[str, Any]] = []
    for document in documents:
        batch.append(document)
        if len(batch) == _BATCH:
            collection.insert_many(batch, ordered=False)
            batch = []
    if batch:
        collection.insert_many(batch, ordered=False)
