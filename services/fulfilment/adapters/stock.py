"""Codes in MongoDB, and the places of units that they fill.

One collection holds the codes that are for sale, those that fill a place, and the reasons that fill the place of a unit
for which no code comes. A unique index on the place makes sure that each is filled once, whoever races for it.
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError
from pymongo.read_concern import ReadConcern

from services.chassis.mongodb.client import Mongo, duplicate_indexes, mongo_errors
from services.fulfilment.domain.code import SealedCode
from services.fulfilment.domain.slots import FilledSlot, UnitStatus, slot_range
from services.fulfilment.domain.supply import Allocation
from services.fulfilment.wire import documents as wire

CODES = "codes"
BATCH_SIZE = 1_000
_SHOWN = {"sku": 0, "filled_us": 0}
_ID = {"_id": 1}
_ORDER = [("sku", 1), ("_id", 1)]
_FILLED = {"_id": 0, "slot": 1, "status": 1, "reason": 1}


class MongoStockStore:
    """The codes' store."""

    def __init__(self, mongo: Mongo, *, random: Random | None = None) -> None:
        # Asking the system for each number would cost more than the rest of the way to the database.
        self._dice = random or Random()  # noqa: S311 - spreads concurrent readers over the stock
        self._codes = mongo.collection(CODES)
        # A code that is shown must not be taken back by a failing primary.
        self._shown = self._codes.with_options(read_concern=ReadConcern("majority"))

    async def create_indexes(self) -> None:
        """Make the indexes; raises `Away`."""
        with mongo_errors():
            await self._codes.create_index([("slot", 1)], name="slot", unique=True, sparse=True)
            await self._codes.create_index(
                [("sku", 1), ("_id", 1)], name="available", partialFilterExpression={"available": True}
            )

    async def load(self, sku: str, codes: Sequence[SealedCode]) -> int:
        """Put codes on sale; returns how many are new. Loading them again changes nothing."""
        documents = [{"_id": code.digest, "sku": sku, "available": True, **_sealed(code)} for code in codes]
        added = 0
        for start in range(0, len(documents), BATCH_SIZE):
            lot = documents[start : start + BATCH_SIZE]
            added += len(lot) - len(await self._insert(lot))
        return added

    async def count_available(self, sku: str) -> int:
        """How many codes are for sale."""
        with mongo_errors():
            return int(await self._codes.count_documents({"sku": sku, "available": True}, hint="available"))

    async def allocate(self, sku: str, slots: Sequence[str], *, now_us: int) -> Allocation:
        """Let codes that are for sale fill these places, as far as there are any.

        One conditional update per code. A place that somebody else has filled meanwhile costs nothing: its code stays
        for sale.
        """
        if len(slots) == 1:
            return await self._take_one(sku, slots[0], now_us)
        digests = await self._for_sale(sku, len(slots))
        changes = [
            UpdateOne(
                {"_id": digest, "available": True},
                {"$set": {"slot": slot, "filled_us": now_us}, "$unset": {"available": ""}},
            )
            for digest, slot in zip(digests, slots, strict=False)
        ]
        if not changes:
            return Allocation(0, 0)
        with mongo_errors():
            try:
                done = await self._codes.bulk_write(changes, ordered=False)
                bound = done.modified_count
            except BulkWriteError as error:
                duplicate_indexes(error)
                bound = (error.details or {}).get("nModified", 0)
        return Allocation(len(changes), bound)

    async def _take_one(self, sku: str, slot: str, now_us: int) -> Allocation:
        """The same for a single place, in one call: found and taken at once."""
        start = self._dice.randbytes(32).hex()
        change = {"$set": {"slot": slot, "filled_us": now_us}, "$unset": {"available": ""}}
        try:
            with mongo_errors():
                for here in ({"$gte": start}, {"$lt": start}):
                    where = {"sku": sku, "available": True, "_id": here}
                    if await self._codes.find_one_and_update(where, change, projection=_ID, sort=_ORDER) is not None:
                        return Allocation(1, 1)
        except DuplicateKeyError:
            return Allocation(1, 0)
        return Allocation(0, 0)

    async def fill(self, sku: str, codes: Mapping[str, SealedCode], *, now_us: int) -> int:
        """Let codes that have just come fill the places they came for; returns how many places they filled."""
        documents = [
            {"_id": code.digest, "sku": sku, "slot": slot, "filled_us": now_us, **_sealed(code)}
            for slot, code in codes.items()
        ]
        return len(documents) - len(await self._insert(documents))

    async def mark_unfillable(self, slots: Sequence[str], status: UnitStatus, *, reason: str, now_us: int) -> None:
        """Fill those of the places that are free with the reason why no code comes."""
        await self._insert(
            [
                {"_id": f"none:{slot}", "slot": slot, "status": status.value, "reason": reason, "filled_us": now_us}
                for slot in slots
            ]
        )

    async def filled_slots(self, transaction_id: str, line: int) -> Sequence[FilledSlot]:
        """What fills the places of a line."""
        with mongo_errors():
            found = (
                await self._codes.find(_within(transaction_id, line), _FILLED).batch_size(BATCH_SIZE + 1).to_list(None)
            )
        return [wire.filled_slot_from_document(document) for document in found]

    async def slots_with_codes(
        self, transaction_id: str, line: int | None
    ) -> Sequence[tuple[FilledSlot, SealedCode | None]]:
        """What fills the places, in order, as a majority has it."""
        with mongo_errors():
            found = (
                await self._shown.find(_within(transaction_id, line), _SHOWN)
                .sort("slot", 1)
                .batch_size(BATCH_SIZE + 1)
                .to_list(None)
            )
        return [(wire.filled_slot_from_document(document), _unsealed(document)) for document in found]

    async def list_sealed_with_other_keys(self, key_id: str, *, limit: int) -> Sequence[tuple[str, SealedCode]]:
        """SKU and code of some that are sealed with another key than this one."""
        with mongo_errors():
            found = await self._codes.find({"key_id": {"$exists": True, "$ne": key_id}}).limit(limit).to_list(None)
        return [(document["sku"], _must(document)) for document in found]

    async def replace_sealed(self, codes: Sequence[tuple[SealedCode, SealedCode]]) -> None:
        """Replace what was sealed with an old key by what is sealed with a new one."""
        changes = [UpdateOne({"_id": old.digest, "key_id": old.key_id}, {"$set": _sealed(new)}) for old, new in codes]
        with mongo_errors():
            await self._codes.bulk_write(changes, ordered=False)

    async def _for_sale(self, sku: str, most: int) -> list[str]:
        """So many digests, from anywhere on: those who take codes at the same time seldom meet."""
        start = self._dice.randbytes(32).hex()
        found = await self._digests({"sku": sku, "available": True, "_id": {"$gte": start}}, most)
        if len(found) < most:
            found += await self._digests({"sku": sku, "available": True, "_id": {"$lt": start}}, most - len(found))
        return found

    async def _digests(self, where: dict[str, Any], most: int) -> list[str]:
        with mongo_errors():
            found = await self._codes.find(where, _ID).sort(_ORDER).limit(most).to_list(None)
        return [document["_id"] for document in found]

    async def _insert(self, documents: list[dict[str, Any]]) -> Sequence[int]:
        """Insert in no particular order; return the places of those that met a key or a filled place."""
        if not documents:
            return ()
        with mongo_errors():
            try:
                await self._codes.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                return duplicate_indexes(error)
        return ()


def _within(transaction_id: str, line: int | None) -> dict[str, Any]:
    low, high = slot_range(transaction_id, line)
    return {"slot": {"$gte": low, "$lt": high}}


def _sealed(code: SealedCode) -> dict[str, Any]:
    return {"key_id": code.key_id, "ciphertext": code.ciphertext}


def _unsealed(document: dict[str, Any]) -> SealedCode | None:
    return _must(document) if "ciphertext" in document else None


def _must(document: dict[str, Any]) -> SealedCode:
    return SealedCode(document["_id"], document["key_id"], bytes(document["ciphertext"]))
