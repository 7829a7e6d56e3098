"""The portal's audit trail in MongoDB: sign-ins, refused ones, and what was shown or sent."""

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pymongo.read_concern import ReadConcern

from services.chassis.mongodb.client import Mongo, ensure_ttl_index, fetch_all, mongo_errors
from services.portal.adapters.documents import Document, date_of
from services.portal.domain.operations import EntryView
from services.portal.domain.session import MINUTE_US
from services.values.instants import format_utc

AUDIT = "portal_audit"
DAY_S = 86_400
ID_BYTES = 8


class MongoAuditTrail:
    """The `AuditTrail` in MongoDB. Ids sort by time, together with those of the operators' API."""

    def __init__(self, mongo: Mongo, *, now_us: Callable[[], int], days: int) -> None:
        self._mongo, self._now_us, self._days = mongo, now_us, days
        self._entries = mongo.collection(AUDIT).with_options(read_concern=ReadConcern("majority"))

    async def create_indexes(self) -> None:
        """Create the index by which old entries are deleted; raises `UnavailableError`."""
        await ensure_ttl_index(self._mongo, AUDIT, "at", self._days * DAY_S)

    async def record(self, action: str, *, actor: str, source: str, **details: object) -> None:
        at_us = self._now_us()
        entry = _content(action, actor, source, details, at_us)
        with mongo_errors():
            await self._entries.insert_one({"_id": _id(at_us, secrets.token_hex(ID_BYTES)), **entry})

    async def count(self, action: str, *, actor: str, source: str, **details: object) -> None:
        minute_us = self._now_us() // MINUTE_US * MINUTE_US
        entry = _content(action, actor, source, details, minute_us)
        digest = hashlib.sha256(repr((action, actor, source, sorted(details.items()))).encode()).hexdigest()
        with mongo_errors():
            await self._entries.update_one(
                {"_id": _id(minute_us, digest[: 2 * ID_BYTES])},
                {"$setOnInsert": entry, "$inc": {"count": 1}},
                upsert=True,
            )

    async def entries(self, *, before: str, limit: int) -> Sequence[EntryView]:
        query = {"_id": {"$lt": before}} if before else {}
        return [_to_entry(each) for each in await fetch_all(self._entries.find(query).sort("_id", -1).limit(limit))]


def _id(at_us: int, suffix: str) -> str:
    return f"{at_us:016d}-{suffix}"


def _content(action: str, actor: str, source: str, details: Mapping[str, object], at_us: int) -> Document:
    fields = {"actor": actor, "action": action, "source": source, "details": dict(details)}
    return {"at_us": at_us, "at": date_of(at_us), **fields}


def _to_entry(document: Mapping[str, Any]) -> EntryView:
    counted = {"times": document["count"]} if document.get("count", 1) > 1 else {}
    return EntryView(
        id=document["_id"],
        at=format_utc(document["at_us"], digits=3),
        actor=document["actor"],
        action=document["action"],
        source=document["source"],
        details=document["details"] | counted,
    )
