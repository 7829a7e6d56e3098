"""What the attackers of `bench.attacks` ask for: large jobs and lists, large orders, a long day, long feeds."""

import copy
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from msgspec.structs import replace
from pymongo import MongoClient
from pymongo.collection import Collection

from bench.ledger_sales import a_line, an_order, document_of
from bench.query_latency import build_writer
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.clock import now_us
from services.chassis.runtime.settings import MongoSettings
from services.fulfilment.domain.ids import derive_id
from services.jobs.events import JobEvent, JobHeader, JobKey, Judged, Opened, OutcomeRun
from services.ledger.adapters.collections import ENTRIES
from services.status.adapters.job_store import MongoJobStore
from services.status.flows.apply_events import apply_events
from services.webhooks.adapters.delivery_store import MongoDeliveryStore
from services.webhooks.adapters.feed_store import MongoFeedStore
from services.webhooks.domain.delivery import MAX_ANSWER_CHARS, Delivery, DeliveryState, Outcome
from services.webhooks.flows import append_events
from tests.jobs.events import a_failure, no_product
from tests.webhooks.events import some_events
from tests.webhooks.fakes import FakeNotifier

ATTACKED_SITE = 608
DATABASE = "tillstream"
LARGE_RECORDS, RECORD_BYTES, LISTED_JOBS = 2_000, 14_000, 10_000
LARGE_ORDERS, ORDER_LINES = 1_000, 100
DAY_TRANSACTIONS = 200_000
SALES, SALE_LINES, MAX_SALE_LINES = 400, 500, 10_000
ATTACKED_USER, LARGE_SALE = "attacked", "longest"
FED_EVENTS, DELIVERIES, TRIES = 3_000, 500, 50
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


def fill_day(uri: str, transaction_id: str) -> dict[str, Any]:
    """Store the many transactions of a day that ended yesterday; return its purchase order, not yet stored."""
    orders, transactions = _collection(uri, "purchase_orders"), _collection(uri, "transactions")
    original = _find(transactions, transaction_id)
    order = _find(orders, original["purchase_order"])
    day = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    order_id = derive_id("purchase-order", order["site"], day, order["currency"])
    _insert(
        transactions,
        (_copy(original, number, purchase_order=order_id) for number in range(1, DAY_TRANSACTIONS + 1)),
    )
    return order | {"_id": order_id, "business_date": day, "last_sequence": DAY_TRANSACTIONS, "state": "OPEN"}


def end_day(uri: str, order: dict[str, Any]) -> None:
    """Store the purchase order of a day, which is closed at once."""
    _collection(uri, "purchase_orders").insert_one(order)


def is_closed(uri: str, order_id: str) -> bool:
    """Whether the purchase order has its invoice."""
    return bool(_find(_collection(uri, "purchase_orders"), order_id)["state"] == "CLOSED")


def fill_ledger(uri: str) -> None:
    """Store orders of hundreds of lines of one user, and one of as many lines as one may have."""
    entries, chance = _collection(uri, ENTRIES), random.Random(7)

    def build(order_id: str, lines: int) -> dict[str, Any]:
        order = an_order(len(order_id), chance, days=365)
        sold = [a_line(chance) for _ in range(lines)]
        return document_of(replace(order, id=order_id, user_id=ATTACKED_USER, line_items=sold))

    entries.insert_one(build(LARGE_SALE, MAX_SALE_LINES))
    entries.insert_many([build(f"attacked-{number}", SALE_LINES) for number in range(SALES)], ordered=False)


async def fill_events(uri: str, endpoint_id: str) -> None:
    """Store a long feed, and deliveries that were tried often and answered with much."""
    mongo = Mongo.connect(MongoSettings(mongodb_uri=uri, mongodb_database=DATABASE))
    deps = append_events.Deps(feed=MongoFeedStore(mongo), notifier=FakeNotifier(), now_us=now_us)
    for first in range(0, FED_EVENTS, _BATCH):
        await append_events.append_events(some_events(_BATCH, first, site=ATTACKED_SITE), deps)
    outcome = Outcome(at_us=now_us(), latency_ms=1, status=500, answer="\N{SNOWMAN}" * MAX_ANSWER_CHARS)
    deliveries = [
        Delivery(
            endpoint=endpoint_id,
            site=ATTACKED_SITE,
            sequence=number,
            event=f"event-{number}",
            type="job.finished",
            state=DeliveryState.FAILED,
            tries=[outcome] * TRIES,
        )
        for number in range(1, DELIVERIES + 1)
    ]
    store = MongoDeliveryStore(mongo, now_us=now_us)
    for first in range(0, DELIVERIES, 100):
        await store.save(deliveries[first : first + 100], added_tries=TRIES)
    await mongo.close()


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
