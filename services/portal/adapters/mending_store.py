"""Records that are being mended, which job mends which, and remembered columns, in MongoDB."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError
from pymongo.read_concern import ReadConcern

from services.chassis.mongodb.client import (
    Mongo,
    create_index,
    duplicate_positions,
    ensure_ttl_index,
    fetch_all,
    mongo_errors,
)
from services.portal.adapters.documents import EXPIRES, date_of, from_document, to_document
from services.portal.domain.mending import Draft, DraftState, JobLink

DRAFTS, LINKS, COLUMNS = "portal_drafts", "portal_job_links", "portal_columns"
DAY_US = 86_400_000_000
# Records hold personal data: they are kept while somebody works on them.
DRAFT_DAYS, LINK_DAYS, COLUMN_DAYS = 7, 30, 365
MAX_LINKS = 1_000
MAX_COLUMNS = 500


class MongoDraftStore:
    """The `DraftStore` in MongoDB."""

    def __init__(self, mongo: Mongo, *, now_us: Callable[[], int]) -> None:
        self._mongo = mongo
        self._drafts = mongo.collection(DRAFTS).with_options(read_concern=ReadConcern("majority"))
        self._now_us = now_us

    async def create_indexes(self) -> None:
        """Create the indexes."""
        await ensure_ttl_index(self._mongo, DRAFTS, EXPIRES, 0)

    async def load(self, site: int, job: str, indexes: Collection[int] | None = None) -> Sequence[Draft]:
        if indexes is None:
            query: dict[str, Any] = {"_id": {"$gte": _draft_id(site, job, 0), "$lt": f"{site}:{job};"}}
        else:
            query = {"_id": {"$in": [_draft_id(site, job, index) for index in indexes]}}
        return [from_document(each, Draft) for each in await fetch_all(self._drafts.find(query).sort("_id", 1))]

    async def count(self, site: int, job: str, state: DraftState) -> int:
        query = {"_id": {"$gte": _draft_id(site, job, 0), "$lt": f"{site}:{job};"}, "state": state.value}
        with mongo_errors():
            return int(await self._drafts.count_documents(query))

    async def save(self, site: int, job: str, drafts: Sequence[Draft]) -> None:
        if not drafts:
            return
        expires = date_of(self._now_us() + DRAFT_DAYS * DAY_US)
        changes = [
            # One that was sent stays so, whatever an old page of a browser says.
            UpdateOne(
                {"_id": _draft_id(site, job, draft.index), "state": {"$ne": DraftState.SENT.value}},
                {"$set": to_document(draft) | {EXPIRES: expires}},
                upsert=True,
            )
            for draft in drafts
        ]
        try:
            with mongo_errors():
                await self._drafts.bulk_write(changes, ordered=False)
        except BulkWriteError as error:
            duplicate_positions(error)


class MongoLinkStore:
    """The `LinkStore` in MongoDB."""

    def __init__(self, mongo: Mongo, *, now_us: Callable[[], int]) -> None:
        self._mongo = mongo
        self._links = mongo.collection(LINKS).with_options(read_concern=ReadConcern("majority"))
        self._now_us = now_us

    async def create_indexes(self) -> None:
        """Create the indexes."""
        await create_index(self._links, [("site", 1), ("mends", 1), ("created_us", 1)], name="mends")
        await ensure_ttl_index(self._mongo, LINKS, EXPIRES, 0)

    async def add(self, site: int, link: JobLink) -> None:
        expires = date_of(self._now_us() + LINK_DAYS * DAY_US)
        try:
            with mongo_errors():
                await self._links.insert_one(
                    {"_id": f"{site}:{link.job}", "site": site, **to_document(link), EXPIRES: expires}
                )
        except DuplicateKeyError:
            return

    async def mended_by(self, site: int, job: str) -> Sequence[JobLink]:
        found = self._links.find({"site": site, "mends": job}).sort("created_us", 1).limit(MAX_LINKS)
        return [from_document(each, JobLink) for each in await fetch_all(found)]

    async def mends(self, site: int, job: str) -> JobLink | None:
        with mongo_errors():
            found = await self._links.find_one({"_id": f"{site}:{job}"})
        return None if found is None else from_document(found, JobLink)


class MongoColumnMemory:
    """The `ColumnMemory` in MongoDB: a document per site and kind."""

    def __init__(self, mongo: Mongo, *, now_us: Callable[[], int]) -> None:
        self._mongo = mongo
        self._columns = mongo.collection(COLUMNS)
        self._now_us = now_us

    async def create_indexes(self) -> None:
        """Create the indexes."""
        await ensure_ttl_index(self._mongo, COLUMNS, EXPIRES, 0)

    async def load(self, site: int, kind: str) -> Mapping[str, str]:
        with mongo_errors():
            found = await self._columns.find_one({"_id": f"{site}:{kind}"})
        return {} if found is None else {each["heading"]: each["field"] for each in found["columns"]}

    async def save(self, site: int, kind: str, fields: Mapping[str, str]) -> None:
        # Not by name: a heading may hold a dot or a dollar.
        known = {**await self.load(site, kind), **fields}
        columns = [{"heading": heading, "field": field} for heading, field in known.items()][-MAX_COLUMNS:]
        change = {"columns": columns, EXPIRES: date_of(self._now_us() + COLUMN_DAYS * DAY_US)}
        with mongo_errors():
            await self._columns.update_one({"_id": f"{site}:{kind}"}, {"$set": change}, upsert=True)


def _draft_id(site: int, job: str, index: int) -> str:
    return f"{site}:{job}:{index:07}"
