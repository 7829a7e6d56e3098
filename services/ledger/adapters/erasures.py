"""The list of erased users in MongoDB."""

from collections.abc import Callable, Mapping
from typing import Any

from pymongo import ReturnDocument
from pymongo.read_concern import ReadConcern

from services.chassis.mongodb.client import Mongo, mongo_errors
from services.ledger.adapters.collections import ERASURES
from services.ledger.ports import Erasure, Erasures

PENDING, COMPLETE = "PENDING", "COMPLETE"


class MongoErasures(Erasures):
    """Stores erasures under the fingerprints of their users; reads what a majority has: a receipt is a promise."""

    def __init__(self, mongo: Mongo, *, user_fingerprint: Callable[[int, str], str]) -> None:
        self._erasures = mongo.collection(ERASURES).with_options(read_concern=ReadConcern("majority"))
        self._user_fingerprint = user_fingerprint

    async def request(self, site: int, user_id: str, *, receipt: str, pseudonym: str, at_us: int) -> Erasure:
        new = {
            "receipt": receipt,
            "site": site,
            "pseudonym": pseudonym,
            "requested_us": at_us,
            "user_id": user_id,
            "state": PENDING,
        }
        with mongo_errors():
            document = await self._erasures.find_one_and_update(
                {"_id": self._user_fingerprint(site, user_id)},
                {"$setOnInsert": new},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        return _erasure(document)

    async def find(self, site: int, receipt: str) -> Erasure | None:
        with mongo_errors():
            document = await self._erasures.find_one({"receipt": receipt, "site": site})
        return None if document is None else _erasure(document)

    async def pending(self) -> list[Erasure]:
        with mongo_errors():
            found = await self._erasures.find({"state": PENDING}).sort("requested_us", 1).to_list(None)
        return list(map(_erasure, found))

    async def complete(self, erasure: Erasure, *, at_us: int) -> None:
        change = {"$set": {"state": COMPLETE, "completed_us": at_us}, "$unset": {"user_id": 1}}
        with mongo_errors():
            await self._erasures.update_one({"receipt": erasure.receipt, "state": PENDING}, change)


def _erasure(document: Mapping[str, Any]) -> Erasure:
    completed_us = document.get("completed_us")
    return Erasure(
        receipt=document["receipt"],
        site=int(document["site"]),
        pseudonym=document["pseudonym"],
        requested_us=int(document["requested_us"]),
        user_id=document.get("user_id"),
        completed_us=None if completed_us is None else int(completed_us),
    )
