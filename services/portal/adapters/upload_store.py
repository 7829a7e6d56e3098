"""Uploaded files in MongoDB: a document for each, and one for each of its pieces.

The pieces of a file are a log: one is stored under the offset at which it begins, if all before it is there. So nothing
has to be undone after a failure: what is received is what is stored.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from services.chassis.mongodb.client import Mongo, create_index, ensure_ttl_index, fetch_all, mongo_errors
from services.portal.adapters.documents import EXPIRES, date_of, from_document, to_document
from services.portal.domain.file_import import ReadOptions
from services.portal.domain.upload import Upload

UPLOADS, PIECES = "portal_uploads", "portal_upload_pieces"
MAX_LISTED = 200


class MongoUploadStore:
    """The `UploadStore` in MongoDB."""

    def __init__(self, mongo: Mongo, *, now_us: Callable[[], int]) -> None:
        self._mongo = mongo
        majority = ReadConcern("majority")
        self._uploads = mongo.collection(UPLOADS).with_options(read_concern=majority)
        self._pieces = mongo.collection(PIECES).with_options(read_concern=majority)
        self._now_us = now_us

    async def create_indexes(self) -> None:
        """Create the indexes."""
        await create_index(self._uploads, [("site", 1), ("created_us", -1)], name="site")
        for collection in (UPLOADS, PIECES):
            await ensure_ttl_index(self._mongo, collection, EXPIRES, 0)

    async def add(self, upload: Upload, *, quota_bytes: int) -> int | None:
        with mongo_errors():
            await self._uploads.insert_one(to_document(upload) | {EXPIRES: date_of(upload.expires_us)})
        # Counted with the new one: of two that are added at once, at least one sees the other.
        sizes = await self._mongo.aggregate(
            self._uploads,
            [
                {"$match": {"site": upload.site, EXPIRES: {"$gt": date_of(self._now_us())}}},
                {"$group": {"_id": None, "bytes": {"$sum": "$size"}}},
            ],
        )
        total = int(sizes[0]["bytes"]) if sizes else upload.size
        if total <= quota_bytes:
            return None
        with mongo_errors():
            await self._uploads.delete_one({"_id": upload.id})
        return total - upload.size

    async def find(self, site: int, upload_id: str) -> Upload | None:
        with mongo_errors():
            found = await self._uploads.find_one(
                {"_id": upload_id, "site": site, EXPIRES: {"$gt": date_of(self._now_us())}}
            )
        return None if found is None else from_document(found, Upload)

    async def of_site(self, site: int) -> Sequence[Upload]:
        query = {"site": site, EXPIRES: {"$gt": date_of(self._now_us())}}
        cursor = self._uploads.find(query).sort("created_us", -1).limit(MAX_LISTED)
        return [from_document(document, Upload) for document in await fetch_all(cursor)]

    async def received(self, upload_id: str) -> int:
        last = self._pieces.find({"_id": _of(upload_id)}, {"end": 1}).sort("_id", -1).limit(1)
        found = await fetch_all(last)
        return int(found[0]["end"]) if found else 0

    async def append(self, upload: Upload, offset: int, piece: bytes) -> bool:
        document = {
            "_id": f"{upload.id}:{offset:010}",
            "end": offset + len(piece),
            "data": piece,
            EXPIRES: date_of(upload.expires_us),
        }
        try:
            with mongo_errors():
                await self._pieces.insert_one(document)
        except DuplicateKeyError:
            return False
        return True

    async def complete(self, upload: Upload, *, size: int) -> None:
        with mongo_errors():
            await self._uploads.update_one({"_id": upload.id}, {"$set": {"is_complete": True, "size": size}})

    async def set_digest(self, upload: Upload, sha256: str) -> None:
        with mongo_errors():
            await self._uploads.update_one({"_id": upload.id}, {"$set": {"sha256": sha256}})

    async def set_options(self, upload: Upload, options: ReadOptions) -> None:
        with mongo_errors():
            await self._uploads.update_one({"_id": upload.id}, {"$set": {"options": to_document(options)}})

    async def pieces(self, upload: Upload) -> AsyncIterator[bytes]:
        offset = 0
        while offset < upload.size:
            with mongo_errors():
                found: dict[str, Any] | None = await self._pieces.find_one({"_id": f"{upload.id}:{offset:010}"})
            if found is None:
                return
            yield found["data"]
            offset = int(found["end"])

    async def delete(self, site: int, upload_id: str) -> None:
        with mongo_errors():
            deleted = await self._uploads.delete_one({"_id": upload_id, "site": site})
            if deleted.deleted_count:
                await self._pieces.delete_many({"_id": _of(upload_id)})


def _of(upload_id: str) -> dict[str, str]:
    """Return the range of the keys of a file's pieces."""
    return {"$gte": f"{upload_id}:", "$lt": f"{upload_id};"}
