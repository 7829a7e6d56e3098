"""Feeds in MongoDB.

An event's `_id` is its site and its sequence, so a page is a range of `_id`, and a sequence is taken by inserting. A
unique index on the event's id admits each event once. A head is stored beside the events because retention deletes
these: the sequence goes on after a quiet month.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError
from pymongo.read_concern import ReadConcern

from services.chassis.mongodb.client import (
    Mongo,
    create_index,
    create_unique_index,
    duplicate_positions,
    ensure_ttl_index,
    mongo_errors,
)
from services.webhooks.adapters.documents import date_of
from services.webhooks.domain.event import EMPTY, FeedEvent, FeedQuery, Head
from services.webhooks.ports import Conflict

EVENTS, FEEDS = "feed_events", "feeds"
DAY_S = 86_400
_SHOWN = {"event": 1, "type": 1, "json": 1, "recorded_us": 1}
_DIGITS = 15


def event_key(site: int, sequence: int) -> str:
    """The `_id` of an event; those of a site are in the order of their sequence."""
    return f"{site}:{sequence:0{_DIGITS}d}"


class MongoFeedStore:
    """Stores and reads feeds. Every call raises `UnavailableError`."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo
        # A failing primary may roll back what only it has: nobody may have seen that, or concluded anything from it.
        majority = ReadConcern("majority")
        self._events = mongo.collection(EVENTS).with_options(read_concern=majority)
        self._feeds = mongo.collection(FEEDS).with_options(read_concern=majority)

    async def create_indexes(self, *, retention_days: int) -> None:
        """Create the indexes, or change the retention of existing ones."""
        await create_unique_index(self._events, [("event", 1)], name="event")
        await create_index(self._events, [("site", 1), ("type", 1), ("sequence", 1)], name="type")
        await ensure_ttl_index(self._mongo, EVENTS, "recorded", retention_days * DAY_S)

    async def find_head(self, site: int) -> Head:
        """The last event of the feed; the stored head may be older, or newer than all events that are left."""
        with mongo_errors():
            last = await self._events.find_one(_range(site), {"sequence": 1, "recorded_us": 1}, sort=[("_id", -1)])
            stored = await self._feeds.find_one({"_id": site})
        heads = [Head(int(each["sequence"]), int(each["recorded_us"])) for each in (last, stored) if each]
        return max(heads, key=lambda head: head.sequence, default=EMPTY)

    async def insert(self, site: int, events: Sequence[FeedEvent], *, recorded_us: int) -> tuple[int, Conflict | None]:
        """Insert events in order up to the first conflict."""
        documents = [_document(site, event, recorded_us) for event in events]
        try:
            with mongo_errors():
                await self._events.insert_many(documents, ordered=True)
        except BulkWriteError as error:
            (position,) = duplicate_positions(error)
            (found,) = (error.details or {})["writeErrors"]
            return position, Conflict.TAKEN if "_id" in found["keyPattern"] else Conflict.KNOWN
        return len(documents), None

    async def find_known(self, ids: Collection[str]) -> Collection[str]:
        """Those of the event ids that are in a feed."""
        with mongo_errors():
            found = await self._events.find({"event": {"$in": list(ids)}}, {"event": 1}).to_list(None)
        return {document["event"] for document in found}

    async def save_heads(self, heads: Mapping[int, Head]) -> None:
        """Raise the stored heads of these sites. Every change of one wakes the readers of all replicas."""
        updates = [
            UpdateOne(
                {"_id": site}, {"$max": {"sequence": head.sequence, "recorded_us": head.recorded_us}}, upsert=True
            )
            for site, head in heads.items()
        ]
        with mongo_errors():
            await self._feeds.bulk_write(updates, ordered=False)

    async def read(self, query: FeedQuery) -> Sequence[FeedEvent]:
        """A page of events, oldest first."""
        with mongo_errors():
            found = await self._events.find(**_find_arguments(query)).to_list(None)
        return list(map(_event_from, found))

    async def read_many(self, site: int, sequences: Collection[int]) -> Sequence[FeedEvent]:
        """Those of the events that are still kept."""
        ids = [event_key(site, sequence) for sequence in sequences]
        with mongo_errors():
            found = await self._events.find({"_id": {"$in": ids}}, _SHOWN).to_list(None)
        return list(map(_event_from, found))

    async def find_event(self, site: int, event_id: str) -> FeedEvent | None:
        """The event with this id, if it is the site's and still kept."""
        with mongo_errors():
            found = await self._events.find_one({"event": event_id, "site": site}, _SHOWN)
        return None if found is None else _event_from(found)

    async def find_position(self, site: int, at_us: int) -> int:
        """The sequence after which all events were recorded later than `at_us`, by bisection: both grow together."""
        first, last = await self._first(site), (await self.find_head(site)).sequence
        if first is None:
            return last
        low, high = first - 1, last
        while low < high:
            middle = (low + high + 1) // 2
            if await self._recorded_us(site, middle) <= at_us:
                low = middle
            else:
                high = middle - 1
        return low

    async def _first(self, site: int) -> int | None:
        with mongo_errors():
            found = await self._events.find_one(_range(site), {"sequence": 1}, sort=[("_id", 1)])
        return None if found is None else int(found["sequence"])

    async def _recorded_us(self, site: int, sequence: int) -> int:
        """When the event was recorded; long ago if retention has deleted it meanwhile."""
        with mongo_errors():
            found = await self._events.find_one({"_id": event_key(site, sequence)}, {"recorded_us": 1})
        return -(2**62) if found is None else int(found["recorded_us"])


def _document(site: int, event: FeedEvent, recorded_us: int) -> dict[str, Any]:
    return {
        "_id": event_key(site, event.sequence),
        "event": event.id,
        "site": site,
        "type": event.type,
        "sequence": event.sequence,
        "json": event.json,
        "recorded": date_of(recorded_us),
        "recorded_us": recorded_us,
    }


def _event_from(document: Mapping[str, Any]) -> FeedEvent:
    sequence = int(document["_id"].rpartition(":")[2])
    return FeedEvent(sequence, document["event"], document["type"], document["json"], int(document["recorded_us"]))


def _range(site: int, after: int = 0) -> dict[str, Any]:
    # The character after the separator ends the range.
    return {"_id": {"$gt": event_key(site, after), "$lt": f"{site};"}}


def _find_arguments(query: FeedQuery) -> dict[str, Any]:
    """The arguments of `find`: by `_id`, or, of some types, by the index that merges their sorted ranges."""
    options = {"projection": _SHOWN, "limit": query.rows, "batch_size": query.rows}
    if not query.types:
        return {"filter": _range(query.site, query.after), "sort": [("_id", 1)], "hint": "_id_", **options}
    where = {"site": query.site, "type": {"$in": list(query.types)}, "sequence": {"$gt": query.after}}
    return {"filter": where, "sort": [("sequence", 1)], "hint": "type", **options}
