"""Codes and slots in MongoDB.

One collection holds available codes, codes that fill a slot, and the reasons that fill the slots of units without a
code. A unique index on the slot guarantees that concurrent writers fill each slot once.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from operator import attrgetter
from random import Random
from typing import Any, NamedTuple

from pymongo import UpdateMany, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError
from pymongo.read_concern import ReadConcern

from services.chassis.mongodb.client import (
    Mongo,
    create_index,
    create_unique_index,
    duplicate_positions,
    fetch_all,
    mongo_errors,
)
from services.fulfilment.adapters.batcher import Batcher
from services.fulfilment.domain.code import SealedCode
from services.fulfilment.domain.slots import FilledSlot, UnitStatus, slot_range
from services.fulfilment.domain.supply import Allocation
from services.fulfilment.ports import StockStore
from services.fulfilment.wire import documents

CODES = "codes"
BATCH_SIZE = 1_000
_BY_DIGEST = [("sku", 1), ("_id", 1)]
_ID_ONLY = {"_id": 1}
_SLOT_FIELDS = {"_id": 0, "slot": 1, "status": 1, "reason": 1}
_SLOT_AND_CODE_FIELDS = {"sku": 0, "filled_us": 0}


class _Request(NamedTuple):
    """Slots that want codes of one product."""

    sku: str
    slots: Sequence[str]
    now_us: int


class MongoStockStore(StockStore):
    """Stores codes and filled slots."""

    def __init__(self, mongo: Mongo, *, random: Random | None = None) -> None:
        # The system's random numbers would cost more than a round trip to the database.
        self._random = random or Random()  # noqa: S311 - it only keeps concurrent allocations apart
        self._codes = mongo.collection(CODES)
        # A failing primary may roll back what only it has: such a code must be neither disclosed nor counted.
        self._majority = self._codes.with_options(read_concern=ReadConcern("majority"))
        self._allocations = Batcher(
            self._allocate_batch, key=attrgetter("sku"), size=lambda request: len(request.slots)
        )

    async def create_indexes(self) -> None:
        """Create the indexes; raises `UnavailableError`."""
        await create_unique_index(self._codes, [("slot", 1)], name="slot", sparse=True)
        await create_index(self._codes, _BY_DIGEST, name="available", partialFilterExpression={"available": True})

    async def load(self, sku: str, codes: Sequence[SealedCode], *, batch_id: str) -> int:
        new = [
            {"_id": code.digest, "sku": sku, "available": True, "batch": batch_id, **_code_fields(code)}
            for code in codes
        ]
        added = 0
        for start in range(0, len(new), BATCH_SIZE):
            batch = new[start : start + BATCH_SIZE]
            added += len(batch) - len(await self._insert(batch))
        return added

    async def withdraw(self, sku: str, digests: Sequence[str]) -> int:
        count = 0
        for start in range(0, len(digests), BATCH_SIZE):
            count += await self._delete_available(sku, {"_id": {"$in": digests[start : start + BATCH_SIZE]}})
        return count

    async def withdraw_batch(self, sku: str, batch_id: str) -> int:
        return await self._delete_available(sku, {"batch": batch_id})

    async def _delete_available(self, sku: str, conditions: dict[str, Any]) -> int:
        # An allocation needs the code to be available, too: one of the two finds it.
        with mongo_errors():
            deleted = await self._codes.delete_many({"sku": sku, "available": True, **conditions}, hint="available")
        return int(deleted.deleted_count)

    async def count_available(self, sku: str) -> int:
        """Return the number of available codes."""
        with mongo_errors():
            return int(await self._codes.count_documents({"sku": sku, "available": True}, hint="available"))

    async def allocate(self, sku: str, slots: Sequence[str], *, now_us: int) -> Allocation:
        return await self._allocations.submit(_Request(sku, slots, now_us))

    async def _allocate_batch(self, requests: Sequence[_Request]) -> Sequence[Allocation]:
        """Fill the slots of all requests, those of the first ones if there are too few codes."""
        sku, times = requests[0].sku, dict[str, int]()
        for request in requests:
            for slot in request.slots:
                times.setdefault(slot, request.now_us)
        if len(times) == 1:
            return [await self._allocate_one(sku, *times.popitem())] * len(requests)
        digests = dict(zip(times, await self._available_digests(sku, len(times)), strict=False))
        filled = await self._fill_slots(digests, times)
        # Of codes that other writers took there may be more: the callers look again.
        found = digests.keys() if len(filled) == len(digests) else times.keys()
        return [
            Allocation(sum(slot in found for slot in request.slots), sum(slot in filled for slot in request.slots))
            for request in requests
        ]

    async def _fill_slots(self, digests: Mapping[str, str], times: Mapping[str, int]) -> AbstractSet[str]:
        """Fill each slot with its code; return the slots that certainly were filled so."""
        if not digests:
            return set()
        slots = list(digests)
        # If another writer has filled the slot, the code stays available. The driver does not send `UpdateMany` again
        # by itself: MongoDB would have to remember each update, and the callers ask again anyway.
        updates = [UpdateMany({"_id": digests[slot], "available": True}, _fill(slot, times[slot])) for slot in slots]
        taken: set[str] = set()
        with mongo_errors():
            try:
                count = (await self._codes.bulk_write(updates, ordered=False)).modified_count
            except BulkWriteError as error:
                taken = {slots[position] for position in duplicate_positions(error)}
                count = (error.details or {}).get("nModified", 0)
        # MongoDB reports how many codes were still available, not which.
        return digests.keys() - taken if count + len(taken) == len(slots) else set()

    async def _allocate_one(self, sku: str, slot: str, now_us: int) -> Allocation:
        """Fill a single slot in one round trip: find and update at once."""
        start = self._random_digest()
        try:
            with mongo_errors():
                for part in ({"$gte": start}, {"$lt": start}):
                    conditions = {"sku": sku, "available": True, "_id": part}
                    found = await self._codes.find_one_and_update(
                        conditions, _fill(slot, now_us), projection=_ID_ONLY, sort=_BY_DIGEST
                    )
                    if found is not None:
                        return Allocation(1, 1)
        except DuplicateKeyError:
            return Allocation(1, 0)
        return Allocation(0, 0)

    async def fill(self, sku: str, codes: Mapping[str, SealedCode], *, now_us: int) -> int:
        filled = [
            {"_id": code.digest, "sku": sku, "slot": slot, "filled_us": now_us, **_code_fields(code)}
            for slot, code in codes.items()
        ]
        return len(filled) - len(await self._insert(filled))

    async def mark_unfillable(self, slots: Sequence[str], status: UnitStatus, *, reason: str, now_us: int) -> None:
        await self._insert(
            [
                {"_id": f"none:{slot}", "slot": slot, "status": status.value, "reason": reason, "filled_us": now_us}
                for slot in slots
            ]
        )

    async def filled_slots(self, transaction_id: str, line: int) -> Sequence[FilledSlot]:
        cursor = self._majority.find(_in_line(transaction_id, line), _SLOT_FIELDS).batch_size(BATCH_SIZE + 1)
        found = await fetch_all(cursor)
        return [documents.filled_slot_from_document(document) for document in found]

    async def slots_with_codes(
        self, transaction_id: str, line: int | None
    ) -> Sequence[tuple[FilledSlot, SealedCode | None]]:
        cursor = self._majority.find(_in_line(transaction_id, line), _SLOT_AND_CODE_FIELDS).sort("slot", 1)
        found = await fetch_all(cursor.batch_size(BATCH_SIZE + 1))
        return [
            (
                documents.filled_slot_from_document(document),
                _sealed_code(document) if "ciphertext" in document else None,
            )
            for document in found
        ]

    async def list_sealed_with_other_keys(self, key_id: str, *, limit: int) -> Sequence[tuple[str, SealedCode]]:
        """Return SKU and code of up to `limit` codes that are not sealed with this key."""
        found = await fetch_all(self._codes.find({"key_id": {"$exists": True, "$ne": key_id}}).limit(limit))
        return [(document["sku"], _sealed_code(document)) for document in found]

    async def replace_sealed(self, codes: Sequence[tuple[SealedCode, SealedCode]]) -> None:
        """Replace each old ciphertext by the new one."""
        updates = [
            UpdateOne({"_id": old.digest, "key_id": old.key_id}, {"$set": _code_fields(new)}) for old, new in codes
        ]
        with mongo_errors():
            await self._codes.bulk_write(updates, ordered=False)

    async def _available_digests(self, sku: str, limit: int) -> list[str]:
        """Return up to `limit` digests, from a random one on: concurrent allocations seldom get the same ones."""
        start = self._random_digest()
        found = await self._find_digests({"sku": sku, "available": True, "_id": {"$gte": start}}, limit)
        if len(found) < limit:
            rest = {"sku": sku, "available": True, "_id": {"$lt": start}}
            found += await self._find_digests(rest, limit - len(found))
        return found

    async def _find_digests(self, conditions: dict[str, Any], limit: int) -> list[str]:
        found = await fetch_all(self._codes.find(conditions, _ID_ONLY).sort(_BY_DIGEST).limit(limit))
        return [document["_id"] for document in found]

    async def _insert(self, new: list[dict[str, Any]]) -> Sequence[int]:
        """Insert in no particular order; returns the indexes of documents whose id or slot exists already."""
        if not new:
            return ()
        with mongo_errors():
            try:
                await self._codes.insert_many(new, ordered=False)
            except BulkWriteError as error:
                return duplicate_positions(error)
        return ()

    def _random_digest(self) -> str:
        return self._random.randbytes(32).hex()


def _fill(slot: str, now_us: int) -> dict[str, Any]:
    return {"$set": {"slot": slot, "filled_us": now_us}, "$unset": {"available": ""}}


def _in_line(transaction_id: str, line: int | None) -> dict[str, Any]:
    low, high = slot_range(transaction_id, line)
    return {"slot": {"$gte": low, "$lt": high}}


def _code_fields(code: SealedCode) -> dict[str, Any]:
    return {"key_id": code.key_id, "ciphertext": code.ciphertext}


def _sealed_code(document: dict[str, Any]) -> SealedCode:
    return SealedCode(document["_id"], document["key_id"], bytes(document["ciphertext"]))
