"""Turns: work that one of several replicas does, once in an interval."""

from collections.abc import Callable
from datetime import datetime, timedelta

from pymongo.errors import DuplicateKeyError

from services.chassis.mongodb.client import Mongo, mongo_errors
from services.ledger.adapters.collections import TURNS


class Turns:
    """Gives each interval's turn to the replica that asks first."""

    def __init__(self, mongo: Mongo, *, now: Callable[[], datetime]) -> None:
        self._turns = mongo.collection(TURNS)
        self._now = now

    async def take(self, name: str, *, interval_s: float) -> bool:
        """Whether the turn is the caller's; raises `UnavailableError`."""
        now = self._now()
        last = now - timedelta(seconds=interval_s)
        try:
            with mongo_errors():
                result = await self._turns.update_one(
                    {"_id": name, "taken": {"$lte": last}}, {"$set": {"taken": now}}, upsert=True
                )
        except DuplicateKeyError:
            # It exists, and was taken less than an interval ago.
            return False
        return bool(result.modified_count or result.upserted_id)
