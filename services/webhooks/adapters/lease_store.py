"""Leases of endpoints in MongoDB: which process sends to which endpoint.

A lease is in the endpoint's document, so that progress is stored only by the process that has it. A collection of its
own says which processes there are: each leases its share of the endpoints.
"""

from collections.abc import Callable, Collection
from typing import Any

from pymongo.read_concern import ReadConcern

from services.chassis.mongodb.client import Mongo, create_index, ensure_ttl_index, mongo_errors
from services.webhooks.adapters.documents import date_of, from_document
from services.webhooks.adapters.endpoint_store import ENDPOINTS
from services.webhooks.domain.endpoint import Endpoint, EndpointState
from services.webhooks.domain.leases import Leases, fair_share

SENDERS = "webhook_senders"
DAY_S = 86_400
_ENABLED = {"state": EndpointState.ENABLED.value}


class MongoLeaseStore:
    """Leases endpoints. Every call raises `UnavailableError`."""

    def __init__(self, mongo: Mongo, *, now_us: Callable[[], int]) -> None:
        self._mongo = mongo
        majority = ReadConcern("majority")
        self._endpoints = mongo.collection(ENDPOINTS).with_options(read_concern=majority)
        self._senders = mongo.collection(SENDERS).with_options(read_concern=majority)
        self._now_us = now_us

    async def create_indexes(self) -> None:
        """Create the indexes."""
        await create_index(self._endpoints, [("state", 1), ("lease_until_us", 1)], name="lease")
        # Processes that died.
        await ensure_ttl_index(self._mongo, SENDERS, "renewed", DAY_S)

    async def claim(self, owner: str, *, lease_us: int) -> Leases:
        """Renew the owner's leases, and lease free endpoints up to its share."""
        now_us = self._now_us()
        lease = {"owner": owner, "lease_until_us": now_us + lease_us}
        with mongo_errors():
            registered = {"until_us": lease["lease_until_us"], "renewed": date_of(now_us)}
            await self._senders.update_one({"_id": owner}, {"$set": registered}, upsert=True)
            renewed = await self._endpoints.update_many({**_ENABLED, "owner": owner}, {"$set": lease})
            # Further ahead than a lease lasts: set by a clock that was wrong.
            processes = await self._senders.count_documents(
                {"until_us": {"$gte": now_us, "$lte": now_us + 10 * lease_us}}
            )
            share = fair_share(await self._endpoints.count_documents(_ENABLED), processes)
            if renewed.matched_count < share:
                await self._lease_free(lease, now_us, lease_us, limit=share - renewed.matched_count)
            found = await self._endpoints.find({**_ENABLED, **lease}).sort("_id", 1).to_list(None)
        return Leases([from_document(document, Endpoint) for document in found], share)

    async def _lease_free(self, lease: dict[str, Any], now_us: int, lease_us: int, *, limit: int) -> None:
        is_free = {"$or": [{"lease_until_us": {"$lt": now_us}}, {"lease_until_us": {"$gt": now_us + 10 * lease_us}}]}
        free = await self._endpoints.find({**_ENABLED, **is_free}, {"_id": 1}).limit(limit).to_list(None)
        ids = [document["_id"] for document in free]
        # Another process may have been faster with some of them.
        await self._endpoints.update_many({"_id": {"$in": ids}, **_ENABLED, **is_free}, {"$set": lease})

    async def release(self, owner: str, endpoint_ids: Collection[str]) -> None:
        """End the owner's leases of these endpoints."""
        with mongo_errors():
            await self._endpoints.update_many(
                {"_id": {"$in": list(endpoint_ids)}, "owner": owner}, {"$set": {"lease_until_us": 0, "owner": ""}}
            )

    async def leave(self, owner: str) -> None:
        """End all leases of the owner, whose process stops."""
        with mongo_errors():
            await self._senders.delete_one({"_id": owner})
            await self._endpoints.update_many({"owner": owner}, {"$set": {"lease_until_us": 0, "owner": ""}})
