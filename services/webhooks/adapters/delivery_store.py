"""Deliveries and replays in MongoDB. A delivery's `_id` is its endpoint and the sequence of its event."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

from pymongo import UpdateOne
from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from services.chassis.mongodb.client import Mongo, create_index, create_unique_index, ensure_ttl_index, mongo_errors
from services.webhooks.adapters.documents import date_of, from_document, to_document
from services.webhooks.domain.delivery import Delivery, DeliveryState
from services.webhooks.domain.replay import Replay, ReplayState

DELIVERIES, REPLAYS = "webhook_deliveries", "webhook_replays"
DAY_S = 86_400
# Of a delivery that was replayed often, the last tries are kept.
MAX_TRIES = 50
_PENDING = {"state": DeliveryState.PENDING.value}
_STATIC = ("endpoint", "site", "sequence", "event", "type", "body")


def delivery_key(endpoint_id: str, sequence: int) -> str:
    """The `_id` of a delivery; those of an endpoint are in the order of its events."""
    return f"{endpoint_id}:{sequence:015d}"


class MongoDeliveryStore:
    """Stores deliveries. Every call raises `UnavailableError`."""

    def __init__(self, mongo: Mongo, *, now_us: Callable[[], int]) -> None:
        self._mongo = mongo
        self._now_us = now_us
        self._deliveries = mongo.collection(DELIVERIES).with_options(read_concern=ReadConcern("majority"))

    async def create_indexes(self, *, retention_days: int) -> None:
        """Create the indexes, or change the retention of existing ones."""
        by_due_us = [("endpoint", 1), ("due_us", 1)]
        await create_index(self._deliveries, by_due_us, name="due", partialFilterExpression=_PENDING)
        await ensure_ttl_index(self._mongo, DELIVERIES, "recorded", retention_days * DAY_S)

    async def save(self, deliveries: Sequence[Delivery], *, added_tries: int = 1) -> None:
        """Store the states of deliveries, and add their last tries to those stored before."""
        if not deliveries:
            return
        now = date_of(self._now_us())
        with mongo_errors():
            await self._deliveries.bulk_write([_upsert(each, now, added_tries) for each in deliveries], ordered=False)

    async def find_pending(self, endpoint_id: str, *, limit: int, in_order: bool = False) -> Sequence[Delivery]:
        """Pending deliveries, the next due first; `in_order`, by their sequence."""
        cursor = self._deliveries.find({"endpoint": endpoint_id, **_PENDING}, hint="due")
        with mongo_errors():
            found = await cursor.sort("sequence" if in_order else "due_us", 1).limit(limit).to_list(None)
        return [from_document(document, Delivery) for document in found]

    async def find_delivered(self, endpoint_id: str, sequences: Collection[int]) -> Collection[int]:
        """Those of the sequences that were delivered."""
        ids = [delivery_key(endpoint_id, sequence) for sequence in sequences]
        delivered = {"_id": {"$in": ids}, "state": DeliveryState.DELIVERED.value}
        with mongo_errors():
            found = await self._deliveries.find(delivered, {"sequence": 1}).to_list(None)
        return {int(document["sequence"]) for document in found}

    async def find_page(self, endpoint_id: str, *, before: int | None, rows: int) -> Sequence[Delivery]:
        """Deliveries before a sequence, the newest event first, and one more."""
        end = f"{endpoint_id};" if before is None else delivery_key(endpoint_id, before)
        between = {"_id": {"$gte": f"{endpoint_id}:", "$lt": end}}
        with mongo_errors():
            found = await self._deliveries.find(between).sort("_id", -1).limit(rows + 1).to_list(None)
        page: list[Delivery] = []
        for document in found:
            page.append(from_document(document, Delivery))
            await asyncio.sleep(0)
        return page


def _upsert(delivery: Delivery, now: datetime, added_tries: int) -> UpdateOne:
    document = to_document(delivery)
    tries = document["tries"][-added_tries:] if added_tries else []
    update: dict[str, Any] = {
        "$setOnInsert": {name: document[name] for name in _STATIC} | {"recorded": now},
        "$set": {name: document[name] for name in ("state", "due_us", "attempts")},
        "$push": {"tries": {"$each": tries, "$slice": -MAX_TRIES}},
    }
    return UpdateOne({"_id": delivery_key(delivery.endpoint, delivery.sequence)}, update, upsert=True)


class MongoReplayStore:
    """Stores replays: of each endpoint, one may run. Every call raises `UnavailableError`."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo
        self._replays = mongo.collection(REPLAYS).with_options(read_concern=ReadConcern("majority"))

    async def create_indexes(self, *, retention_days: int) -> None:
        """Create the indexes, or change the retention of existing ones."""
        await create_unique_index(self._replays, [("running", 1)], name="running", sparse=True)
        await ensure_ttl_index(self._mongo, REPLAYS, "created", retention_days * DAY_S)

    async def add(self, replay: Replay) -> bool:
        """Store a new replay unless another one runs."""
        document = {
            "_id": replay.id,
            **to_document(replay),
            "created": date_of(replay.created_us),
            "running": replay.endpoint,
        }
        try:
            with mongo_errors():
                await self._replays.insert_one(document)
        except DuplicateKeyError as error:
            return "_id" in (error.details or {}).get("keyPattern", {})
        return True

    async def find(self, endpoint_id: str, replay_id: str) -> Replay | None:
        """The endpoint's replay."""
        with mongo_errors():
            found = await self._replays.find_one({"_id": replay_id, "endpoint": endpoint_id})
        return None if found is None else from_document(found, Replay)

    async def find_running(self, endpoint_ids: Collection[str]) -> Sequence[Replay]:
        """The running replays of these endpoints."""
        with mongo_errors():
            found = await self._replays.find({"running": {"$in": list(endpoint_ids)}}).to_list(None)
        return [from_document(document, Replay) for document in found]

    async def save_progress(self, replay: Replay) -> bool:
        """Store the progress of a running replay; one that has finished runs no more."""
        document = to_document(replay)
        update: dict[str, Any] = {
            "$set": {name: document[name] for name in ("position", "sent", "failed", "skipped", "state")}
        }
        if replay.state is not ReplayState.RUNNING:
            update["$unset"] = {"running": ""}
        with mongo_errors():
            result = await self._replays.update_one({"_id": replay.id, "state": ReplayState.RUNNING.value}, update)
        return bool(result.matched_count)

    async def stop(self, endpoint_id: str, replay_id: str) -> bool:
        """Stop a running replay."""
        running = {"_id": replay_id, "endpoint": endpoint_id, "state": ReplayState.RUNNING.value}
        with mongo_errors():
            result = await self._replays.update_one(
                running, {"$set": {"state": ReplayState.STOPPED.value}, "$unset": {"running": ""}}
            )
        return bool(result.matched_count)
