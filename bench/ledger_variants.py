"""Where the sums are kept up to date: three ways of recording new orders (docs/adr/0012)."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import product
from statistics import median

from pymongo import InsertOne, UpdateOne

from bench.ledger_recording import end, fold_for_ever
from bench.ledger_sales import PORTION, SITE, YEAR, document_of, group_of, orders
from services.chassis.runtime.errors import ContentionError
from services.ledger.adapters.collections import ENTRIES, PARTITIONS, SUMS
from services.ledger.domain.entries import group_sums
from services.ledger.domain.sums import without_store
from services.sales.records import Order
from tests.ledger.harness import Harness, open_mongo

ROUNDS = 3


async def measure_variants(uri: str, *, count: int) -> None:
    """Record new orders of a week, and of a year, in three ways, with one and with four writers at the same time.

    The ways take turns, so that other programs on the machine slow down all of them.
    """
    for days, writers in product((7, YEAR), (1, 4)):
        rates: dict[str, list[float]] = {name: [] for name in VARIANTS}
        conflicts = {name: [0] for name in VARIANTS}
        for _, name in product(range(ROUNDS), VARIANTS):
            rates[name].append(await _measure(uri, name, conflicts[name], count=count, writers=writers, days=days))
        for name, found in rates.items():
            print(
                f"{days} days, {writers} writers, {name}: {median(found):,.0f} orders/s "
                f"({min(found):,.0f}-{max(found):,.0f}), {conflicts[name][0]} conflicts in {ROUNDS} rounds",
                flush=True,
            )


async def _measure(uri: str, name: str, conflicts: list[int], *, count: int, writers: int, days: int) -> float:
    """Record the orders into an empty database; return how many a second."""
    async with open_mongo(uri, "pymongo") as mongo:
        harness = Harness(mongo)
        shares = [orders(count // writers, first=number * count, days=days) for number in range(writers)]
        began = time.perf_counter()
        await asyncio.gather(
            *(VARIANTS[name](harness, share, number, conflicts) for number, share in enumerate(shares))
        )
        return count / (time.perf_counter() - began)


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
        for cell, amounts in without_store(group_sums(group_of(record), harness.zones.get("UTC"))).items():
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
