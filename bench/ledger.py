"""`python -m bench.ledger`: recording, pages, reports and exports of the ledger, on a MongoDB of its own.

`--entries N` sets the size. Recording alternates with a bare unordered bulk upsert of the same documents into a
collection with the same indexes. `--variants` compares where the sums are kept up to date (docs/adr/0012).
"""

import argparse
import asyncio
import random
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

import uvloop
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from pymongo import InsertOne, ReplaceOne, UpdateOne

from sandbox.mongo import ReplicaSet
from services.chassis.http.server import build_application
from services.chassis.runtime.errors import ContentionError
from services.ledger.adapters.collections import ENTRIES, PARTITIONS, SUMS
from services.ledger.domain.entries import Group, apply_record, derive_entries, empty_group, group_key, group_sums
from services.ledger.domain.listing import EntryQuery
from services.ledger.domain.report import ReportQuery
from services.ledger.domain.sums import day_of, without_store
from services.ledger.http import responses
from services.ledger.http.exports import stream_orders
from services.ledger.wire import documents
from services.sales.records import Order, OrderLine
from services.values.decimals import MICRO
from tests.ledger.harness import Harness, open_mongo

SITE, CHANNELS, USERS = 608, 10, 2_000
BEGIN_US, DAY_US = 1_767_225_600_000_000, 86_400_000_000  # 2026-01-01
PORTION, LANES = 1_000, 4
ROUNDS = 40
NOW = datetime(2026, 11, 30, tzinfo=UTC)


def orders(count: int, *, first: int = 0, days: int = 365) -> list[Order]:
    """Orders of five lines, of a year or less, ten channels and many users."""
    chance = random.Random(first)
    return [
        Order(
            site=SITE,
            job=None,
            accepted_at=BEGIN_US + number,
            id=f"order-{number}",
            channel=f"channel-{chance.randrange(CHANNELS)}",
            user_id=f"user-{chance.randrange(USERS)}",
            date_time=BEGIN_US + chance.randrange(days) * DAY_US + chance.randrange(DAY_US),
            utc_offset_minutes=0,
            mode="online",
            payment_method="visa",
            payment_kind="credit",
            email_hash="e" * 32,
            cc_hash=None,
            store_id=None,
            region_id=-1,
            segment_ids=["44", "55"],
            segment_names=[],
            currency="USD",
            coupon_code=None,
            coupon_value=None,
            line_items=[
                OrderLine(f"product-{chance.randrange(1000)}", None, 2, Decimal(chance.randrange(10**9)) * MICRO)
                for _ in range(5)
            ],
        )
        for number in range(first, first + count)
    ]


async def in_lanes(records: Sequence[Order], work: Callable[[Sequence[Order], int], Awaitable[Any]]) -> float:
    """Run the work for portions, in concurrent lanes as the worker does; returns records per second."""
    portions = [records[start : start + PORTION] for start in range(0, len(records), PORTION)]

    async def lane(number: int) -> None:
        for portion in portions[number::LANES]:
            await work(portion, number)

    began = time.perf_counter()
    await asyncio.gather(*(lane(number) for number in range(LANES)))
    return len(records) / (time.perf_counter() - began)


async def measure_recording(uri: str, driver: str, *, count: int, rounds: int) -> None:
    rates: dict[str, list[float]] = {"ledger": [], "upsert": []}
    for round_ in range(rounds):
        records = orders(count, first=round_ * count)
        async with open_mongo(uri, driver) as mongo:
            harness = Harness(mongo)

            async def record(portion: Sequence[Order], lane: int, harness: Harness = harness) -> None:
                await harness.record(*portion, partition=f"p{lane}")

            cpu = time.process_time()
            folding = asyncio.create_task(fold_for_ever(harness))
            rates["ledger"].append(await in_lanes(records, record))
            cpu_us = (time.process_time() - cpu) / count * 1e6
            await end(folding)
        async with open_mongo(uri, driver) as mongo:
            collection = mongo.collection(ENTRIES)
            made = {record.id: document_of(record) for record in records}

            async def upsert(portion: Sequence[Order], _: int, made: Any = made, collection: Any = collection) -> None:
                operations = [ReplaceOne({"_id": made[r.id]["_id"]}, made[r.id], upsert=True) for r in portion]
                await collection.bulk_write(operations, ordered=False)

            rates["upsert"].append(await in_lanes(records, upsert))
    ledger, upsert_rate = median(rates["ledger"]), median(rates["upsert"])
    print(
        f"{driver}: recorded {ledger:,.0f} orders/s ({cpu_us:.0f} us CPU each, fold included); "
        f"bare upsert {upsert_rate:,.0f}/s; ratio {ledger / upsert_rate:.2f}"
    )


async def end(task: "asyncio.Task[None]") -> None:
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.5)


async def fold_for_ever(harness: Harness) -> None:
    while True:
        if not await harness.sums.fold():
            await asyncio.sleep(0.05)


def document_of(order: Order) -> dict[str, Any]:
    """The document that the ledger stores."""
    group = _group(order)
    return documents.group_documents(group, derive_entries(group), generation=1, changed=NOW)[0]


def _group(order: Order) -> Group:
    return apply_record(empty_group(group_key(order)), order, b"k")


async def measure_variants(uri: str, *, count: int) -> None:
    """Record new orders of a week in three ways, with one and with four writers at the same time."""
    for writers in (1, 4):
        for name, variant in VARIANTS.items():
            conflicts = [0]
            async with open_mongo(uri, "pymongo") as mongo:
                harness = Harness(mongo)
                shares = [orders(count // writers, first=number * count, days=7) for number in range(writers)]
                began = time.perf_counter()
                await asyncio.gather(
                    *(variant(harness, share, number, conflicts) for number, share in enumerate(shares))
                )
                rate = count / (time.perf_counter() - began)
            print(f"{writers} writers, {name}: {rate:,.0f} orders/s, {conflicts[0]} conflicts")


async def notes_in_transaction(harness: Harness, records: Sequence[Order], writer: int, _: list[int]) -> None:
    """As the ledger does: a note of the changes in the transaction, folded later."""
    folding = asyncio.create_task(fold_for_ever(harness)) if writer == 0 else None
    for start in range(0, len(records), PORTION):
        await harness.record(*records[start : start + PORTION], partition=f"p{writer}")
    if folding is not None:
        await end(folding)
    await harness.fold()


async def sums_in_transaction(harness: Harness, records: Sequence[Order], writer: int, conflicts: list[int]) -> None:
    """(a) Entries, sums and offset in one transaction."""
    for start in range(0, len(records), PORTION):
        portion = records[start : start + PORTION]
        made = [document_of(record) for record in portion]
        changes = [
            UpdateOne({"_id": id_}, {"$inc": fields}, upsert=True)
            for id_, fields in _sum_changes(portion, harness).items()
        ]
        while True:
            try:
                async with harness.mongo.transaction() as session:
                    collection = harness.mongo.collection(ENTRIES)
                    ids = [each["_id"] for each in made]
                    await collection.find({"_id": {"$in": ids}}, session=session).to_list(None)
                    await collection.bulk_write(list(map(InsertOne, made)), ordered=False, session=session)
                    await harness.mongo.collection(SUMS).bulk_write(changes, ordered=False, session=session)
                    offset = UpdateOne({"_id": f"p{writer}"}, {"$set": {"next": start}}, upsert=True)
                    await harness.mongo.collection(PARTITIONS).bulk_write([offset], session=session)
            except ContentionError:
                conflicts[0] += 1
                continue
            break


async def guarded_sums(harness: Harness, records: Sequence[Order], writer: int, _: list[int]) -> None:
    """(b) No transaction: entries carry what they add, and sums the offset up to which they have counted."""
    for start in range(0, len(records), PORTION):
        portion = records[start : start + PORTION]
        made = [{**document_of(record), "counted": [["p", start, list(range(11))]]} for record in portion]
        collection = harness.mongo.collection(ENTRIES)
        await collection.find({"_id": {"$in": [each["_id"] for each in made]}}).to_list(None)
        await collection.bulk_write(list(map(InsertOne, made)), ordered=False)
        guarded = [
            UpdateOne(
                {"_id": id_, f"offsets.{writer}": {"$not": {"$gte": start + 1}}},
                {"$inc": fields, "$set": {f"offsets.{writer}": start + 1}},
                upsert=True,
            )
            for id_, fields in _sum_changes(portion, harness).items()
        ]
        await harness.mongo.collection(SUMS).bulk_write(guarded, ordered=False)
        offset = UpdateOne({"_id": f"p{writer}"}, {"$set": {"next": start}}, upsert=True)
        await harness.mongo.collection(PARTITIONS).bulk_write([offset])


def _sum_changes(portion: Sequence[Order], harness: Harness) -> dict[str, dict[str, int]]:
    changes: dict[str, dict[str, int]] = {}
    for record in portion:
        for cell, amounts in without_store(group_sums(_group(record), harness.zones.get("UTC"))).items():
            month, day = divmod(cell.day, 31)
            fields = changes.setdefault(f"{SITE}|{month}|{cell.channel}", {})
            for position, amount in enumerate(amounts):
                if amount:
                    name = f"days.{day}.{position}"
                    fields[name] = fields.get(name, 0) + amount
    return changes


VARIANTS: dict[str, Callable[[Harness, Sequence[Order], int, list[int]], Awaitable[None]]] = {
    "notes in the transaction, folded later": notes_in_transaction,
    "sums in the transaction": sums_in_transaction,
    "no transaction, sums guarded by offsets": guarded_sums,
}


async def load(harness: Harness, count: int) -> None:
    """Record the first 40,000 orders, which make the sums of a year; insert the others."""
    for start in range(0, min(count, 40_000), PORTION):
        await harness.record(*orders(PORTION, first=start))
    await harness.fold()
    for start in range(40_000, count, 5_000):
        await harness.mongo.collection(ENTRIES).insert_many(
            [document_of(order) for order in orders(5_000, first=start)], ordered=False
        )


async def measure_reads(harness: Harness, count: int) -> None:
    async def page(number: int) -> int:
        query = EntryQuery(site=SITE, user_id=f"user-{number * 7}")
        found = await harness.entries.list_newest(query, rows=51)
        return len(
            responses.encode([responses.entry_members(e.entry, e.key, harness.keys.of_site) for e in found[:50]])
        )

    first = day_of(BEGIN_US, harness.zones.get("UTC"))

    async def report(by: tuple[str, ...]) -> int:
        query = ReportQuery(first=first, last=first + 364, by=by)
        return len(responses.encode(responses.report_members(await harness.report(SITE, query))))

    print(f"{count:,} entries:")
    await timed("  page of 50 of a user", page)
    await timed("  report of a year by day and channel", lambda _: report(("day", "channel")))
    await timed("  report of a year by month and channel", lambda _: report(("month", "channel")))


async def timed(name: str, work: Callable[[int], Awaitable[int]]) -> None:
    took, busy = [], []
    for number in range(ROUNDS):
        began, cpu = time.perf_counter(), time.process_time()
        size = await work(number)
        took.append((time.perf_counter() - began) * 1e3)
        busy.append((time.process_time() - cpu) * 1e3)
    print(f"{name}: p50 {median(took):.1f} ms, best {min(took):.1f} ms, CPU {median(busy):.1f} ms ({size:,} bytes)")


async def measure_exports(harness: Harness, count: int) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await stream_orders(request, EntryQuery(site=SITE), harness.entries, harness.keys.of_site)

    server = TestServer(build_application([web.get("/", handler)]))
    await server.start_server()
    async with ClientSession() as session:
        for name in ("ndjson", "csv", "xlsx"):
            before, began, size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter(), 0
            cpu = time.process_time()
            async with session.get(server.make_url("/"), params={"format": name}, timeout=None) as response:
                async for piece in response.content.iter_any():
                    size += len(piece)
            took = time.perf_counter() - began
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            cpu_us = (time.process_time() - cpu) / count * 1e6
            print(
                f"  export {name}: {count / took:,.0f} rows/s, {cpu_us:.0f} us CPU a row (client included), "
                f"{size / 1e6:.0f} MB, peak memory +{grown:.0f} MiB"
            )
    await server.close()


async def main(uri: str, arguments: argparse.Namespace) -> None:
    if arguments.variants:
        await measure_variants(uri, count=16_000)
        return
    for driver in ("motor", "pymongo") if arguments.rounds else ():
        await measure_recording(uri, driver, count=20_000, rounds=arguments.rounds)
    for count in arguments.entries:
        async with open_mongo(uri) as mongo:
            harness = Harness(mongo)
            await load(harness, count)
            await measure_reads(harness, count)
            await measure_exports(harness, count)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, nargs="*", default=[100_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variants", action="store_true")
    with tempfile.TemporaryDirectory() as directory, ReplicaSet(Path(directory)) as replica_set:
        uvloop.run(main(replica_set.uri, parser.parse_args()))
