"""Generated sales for `bench.ledger`: orders of five lines, of ten channels, thousands of users and a year or less."""

import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count as count_from
from itertools import islice
from typing import Any

from services.jobs.events import JobRef
from services.ledger.adapters.collections import ENTRIES, create_indexes
from services.ledger.domain.entries import Group, apply_record, derive_entries, empty_group, group_key
from services.ledger.wire import documents
from services.sales.records import Order, OrderLine
from services.values.decimals import MICRO
from tests.ledger.harness import Harness

SITE, CHANNELS, USERS, YEAR = 608, 10, 2_000, 365
BEGIN_US, DAY_US = 1_767_225_600_000_000, 86_400_000_000  # 2026-01-01
# Sales come roughly in the order of their instants; ten million fill a year.
INTERVAL_US, HOUR_US = YEAR * DAY_US // 10_000_000, 3_600_000_000
NOW = datetime(2026, 11, 30, tzinfo=UTC)
# These make the sums of all days of the year and of all channels.
RECORDED, PORTION, BATCH, INSERTS = 40_000, 1_000, 5_000, 2
MAX_INDEXED = 200_000


def orders(count: int, *, first: int = 0, days: int = YEAR) -> list[Order]:
    """Return orders of these numbers: always the same for the same arguments."""
    chance = random.Random(first)
    return [an_order(number, chance, days=days) for number in range(first, first + count)]


def an_order(number: int, chance: random.Random, *, days: int) -> Order:
    """Return an order of five lines, as in requests of a hundred."""
    number_of_job, index = divmod(number, 100)
    return Order(
        site=SITE,
        job=JobRef(f"{number_of_job:08x}-0000-1000-8000-000000000000", index, 100, BEGIN_US, "offline", "orders"),
        accepted_at=BEGIN_US + number,
        id=f"order-{number}",
        channel=f"channel-{chance.randrange(CHANNELS)}",
        user_id=f"user-{chance.randrange(USERS)}",
        date_time=BEGIN_US + chance.randrange(days) * DAY_US + chance.randrange(DAY_US),
        utc_offset_minutes=540,
        mode="offline",
        payment_method="Credit card",
        payment_kind=None,
        email_hash=f"{chance.getrandbits(256):064x}",
        cc_hash=f"{chance.getrandbits(256):064x}",
        store_id="Store123",
        region_id=-1,
        segment_ids=["44", "55", "3"],
        segment_names=[],
        currency="USD",
        coupon_code="RR01",
        coupon_value=23_760_000 * MICRO,
        line_items=[a_line(chance) for _ in range(5)],
    )


def a_line(chance: random.Random) -> OrderLine:
    """Return a line with a random product, price and quantity."""
    product = chance.randrange(10_000)
    price = Decimal(chance.randrange(10**9)) * MICRO
    return OrderLine(f"product-{product:06d}", f"sku-{product:06d}-L", 1 + chance.randrange(10), price)


def group_of(order: Order) -> Group:
    """Return the group that consists of this order."""
    return apply_record(empty_group(group_key(order)), order, b"k")


def document_of(order: Order) -> dict[str, Any]:
    """Return the document that the ledger stores."""
    group = group_of(order)
    return documents.group_documents(group, derive_entries(group), generation=1, changed=NOW)[0]


async def fill(harness: Harness, count: int, *, present: int) -> None:
    """Add orders until there are `count`: the first ones are recorded, which makes the sums, others only inserted."""
    for start in range(present, min(count, RECORDED), PORTION):
        await harness.record(*orders(PORTION, first=start))
    await harness.fold()
    entries = harness.mongo.collection(ENTRIES)
    if count - present > MAX_INDEXED:
        # Building the indexes afterwards takes a fraction of the time.
        await entries.drop_indexes()
    await _insert_copies(entries, range(max(present, RECORDED), count))
    await create_indexes(harness.mongo)


async def _insert_copies(entries: Any, numbers: range) -> None:
    templates = list(map(document_of, orders(BATCH)))
    source = copies(templates, first=numbers.start)
    inserting: list[asyncio.Task[Any]] = []
    for start in numbers[::BATCH]:
        batch = list(islice(source, min(BATCH, numbers.stop - start)))
        if len(inserting) == INSERTS:
            await inserting.pop(0)
        inserting.append(asyncio.create_task(entries.insert_many(batch, ordered=False)))
        await asyncio.sleep(0)
    await asyncio.gather(*inserting)


def copies(templates: Sequence[Mapping[str, Any]], *, first: int) -> Iterator[dict[str, Any]]:
    """Yield documents like these, but each of an order, a user, a channel and an instant of its own."""
    chance = random.Random(first)
    for number in count_from(first):
        template = templates[number % len(templates)]
        id_ = f"{SITE}|order-{number}"
        at = BEGIN_US + (number * INTERVAL_US + chance.randrange(HOUR_US)) % (YEAR * DAY_US)
        channel, user = f"channel-{chance.randrange(CHANNELS)}", f"user-{chance.randrange(USERS)}"
        order = {**template["orders"][0], "accepted_at": BEGIN_US + number, "date_time": at}
        yield {
            **template,
            "_id": id_,
            "user": documents.user_key(SITE, user),
            "position": f"{documents.position_at(at)}|{id_}|0",
            "channel": channel,
            "orders": [{**order, "channel": channel, "user_id": user}],
            "first": at,
            "last": at,
        }
