"""Replays, their lease and the audit trail in MongoDB."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from services.chassis.mongodb.client import Mongo, create_index, ensure_ttl_index, fetch_all, mongo_errors
from services.operator.domain.audit import AuditEntry
from services.operator.domain.replay import Replay, Selection, State

REPLAYS, LEASES, AUDIT = "operator_replays", "operator_leases", "operator_audit"
LEASE = "replays"
DAY_S = 86_400
_UNFINISHED = [State.COUNTING.value, State.RUNNING.value]


class MongoReplayStore:
    """The `ReplayStore` in MongoDB."""

    def __init__(self, mongo: Mongo, *, now_us: Callable[[], int], days: int) -> None:
        self._mongo, self._now_us, self._days = mongo, now_us, days
        majority = ReadConcern("majority")
        self._replays = mongo.collection(REPLAYS).with_options(read_concern=majority)
        self._leases = mongo.collection(LEASES).with_options(read_concern=majority)

    async def create_indexes(self) -> None:
        """Create the indexes."""
        await create_index(self._replays, [("state", 1), ("created_us", 1)], name="work")
        await ensure_ttl_index(self._mongo, REPLAYS, "created", self._days * DAY_S)

    async def add(self, replay: Replay) -> None:
        document = asdict(replay)
        document["_id"] = document.pop("id")
        document |= {"created": _date(replay.created_us), "ends": _to_pairs(replay.ends)}
        with mongo_errors():
            await self._replays.insert_one(document)

    async def find(self, replay_id: str) -> Replay | None:
        with mongo_errors():
            return _replay_or_none(await self._replays.find_one({"_id": replay_id}))

    async def newest(self, *, limit: int) -> Sequence[Replay]:
        found = await fetch_all(self._replays.find({}).sort("created", -1).limit(limit))
        return [_to_replay(document) for document in found]

    async def move(self, replay_id: str, allowed: Sequence[State], **changes: Any) -> Replay | None:
        if "ends" in changes:
            changes["ends"] = _to_pairs(changes["ends"])
        values = {name: value.value if isinstance(value, Enum) else value for name, value in changes.items()}
        with mongo_errors():
            found = await self._replays.find_one_and_update(
                {"_id": replay_id, "state": {"$in": [state.value for state in allowed]}},
                {"$set": values},
                return_document=ReturnDocument.AFTER,
            )
        return _replay_or_none(found)

    async def next_unfinished(self) -> Replay | None:
        with mongo_errors():
            found = await self._replays.find_one({"state": {"$in": _UNFINISHED}}, sort=[("created_us", 1)])
        return _replay_or_none(found)

    async def lease(self, owner: str, *, lease_us: int) -> bool:
        now_us = self._now_us()
        # Further ahead than a lease lasts: set by a clock that was wrong.
        is_free = [{"owner": owner}, {"until_us": {"$lt": now_us}}, {"until_us": {"$gt": now_us + 10 * lease_us}}]
        try:
            with mongo_errors():
                await self._leases.update_one(
                    {"_id": LEASE, "$or": is_free},
                    {"$set": {"owner": owner, "until_us": now_us + lease_us}},
                    upsert=True,
                )
        except DuplicateKeyError:
            return False
        return True

    async def release(self, owner: str) -> None:
        with mongo_errors():
            await self._leases.delete_one({"_id": LEASE, "owner": owner})


class MongoAuditTrail:
    """The `AuditTrail` in MongoDB."""

    def __init__(self, mongo: Mongo, *, now_us: Callable[[], int], new_id: Callable[[], str], days: int) -> None:
        self._mongo, self._now_us, self._new_id, self._days = mongo, now_us, new_id, days
        self._entries = mongo.collection(AUDIT).with_options(read_concern=ReadConcern("majority"))

    async def create_indexes(self) -> None:
        """Create the indexes."""
        await ensure_ttl_index(self._mongo, AUDIT, "at", self._days * DAY_S)

    async def record(self, action: str, *, actor: str, source: str, details: Mapping[str, Any]) -> None:
        now_us = self._now_us()
        entry = {
            # Sorts by time.
            "_id": f"{now_us:016d}-{self._new_id()}",
            "at_us": now_us,
            "at": _date(now_us),
            "actor": actor,
            "action": action,
            "source": source,
            "details": dict(details),
        }
        with mongo_errors():
            await self._entries.insert_one(entry)

    async def entries(self, *, before: str, limit: int) -> Sequence[AuditEntry]:
        query = {"_id": {"$lt": before}} if before else {}
        found = await fetch_all(self._entries.find(query).sort("_id", -1).limit(limit))
        return [
            AuditEntry(
                id=each["_id"],
                at_us=each["at_us"],
                actor=each["actor"],
                action=each["action"],
                source=each["source"],
                details=each["details"],
            )
            for each in found
        ]


def _date(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1_000_000, UTC)


def _to_pairs(ends: Mapping[str, int]) -> list[list[Any]]:
    """Return pairs: names of topics contain dots, which MongoDB reads as paths."""
    return [[partition, end] for partition, end in ends.items()]


def _replay_or_none(document: Mapping[str, Any] | None) -> Replay | None:
    return None if document is None else _to_replay(document)


def _to_replay(document: Mapping[str, Any]) -> Replay:
    fields = {name: value for name, value in document.items() if name not in {"_id", "created"}}
    criteria: dict[str, Any] = dict(fields["selection"])
    for name in ("reasons", "topics", "groups"):
        criteria[name] = tuple(criteria[name])
    fields |= {"selection": Selection(**criteria), "state": State(fields["state"]), "ends": dict(fields["ends"])}
    return Replay(id=document["_id"], **fields)
