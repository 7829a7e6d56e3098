"""Jobs in MongoDB.

Two collections: `jobs` (small ones whole, large ones without their entries) and `chunks`. Every index slows writes
down, so `jobs` has two: one for lists that are not filtered, and one for every filter and for what is open, of which a
query names all wanted kinds and MongoDB merges their sorted runs. Queries say which they mean: where MongoDB has a
choice it plans for longer, and keeps to what suited another list. Retention counts from the first write: a later one
need not move the job in that index.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import product
from typing import Any

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, DocumentTooLarge, OperationFailure
from pymongo.read_concern import ReadConcern

from services.chassis.mongodb.client import Mongo, duplicate_indexes, ensure_ttl_index, mongo_errors
from services.jobs.events import JobHeader, JobKey
from services.status.adapters import job_documents
from services.status.domain.block import NO_PROJECTION, Block, Projection
from services.status.domain.job import OPEN_STATES, ChunkChange, Job, JobChange, JobState, StoredJob
from services.status.domain.listing import MODES, TYPES, JobListQuery
from services.status.ports import JobTooLargeError

JOBS, CHUNKS = "jobs", "chunks"
DAY_S = 86_400

_KIND, _WRITTEN = f"{job_documents.STATE}.kind", f"{job_documents.STATE}.written"
_ORDER = [("place", -1)]
# `written` is not for order: what stands still is found without a look at the jobs themselves.
_INDEXES = {"newest": [("site", 1), *_ORDER], "kinds": [("site", 1), (_KIND, 1), *_ORDER, (_WRITTEN, 1)]}

# Texts of entries, in chunks and in small jobs.
_FIELDS = {Projection.ROWS: "runs.rows", Projection.EVENTS: "runs.events", Projection.DETAILS: "runs.details"}
_IN_CHUNKS, _IN_JOBS = "", "job."
# BSONObjectTooLarge, and the code that an update which grows a document too far fails with.
_TOO_BIG = (10334, 17419)
# BadValue: an insertion that is too large by less than what a driver leaves room for has no code of its own.
_BAD_VALUE, _TOO_LARGE = 2, "object to insert too large"


class MongoJobStore:
    """The jobs' store. `now` gives the time of writing, from which retention counts."""

    def __init__(self, mongo: Mongo, *, now: Callable[[], datetime]) -> None:
        self._mongo = mongo
        self._now = now
        self._jobs = mongo.collection(JOBS)
        self._chunks = mongo.collection(CHUNKS)
        # Readers must not see what a failing primary may yet take back; writers compare with the primary's own state.
        majority = ReadConcern("majority")
        self._majority_jobs = self._jobs.with_options(read_concern=majority)
        self._majority_chunks = self._chunks.with_options(read_concern=majority)
        self._raw_jobs = self._jobs.with_options(
            read_concern=majority, codec_options=CodecOptions(document_class=RawBSONDocument)
        )

    async def create_indexes(self, *, retention_days: int) -> None:
        """Make the indexes, or change the retention of those that are there; raises `Away`."""
        with mongo_errors():
            for name, fields in _INDEXES.items():
                await self._jobs.create_index(fields, name=name)
        await ensure_ttl_index(self._mongo, JOBS, "since", retention_days * DAY_S)
        # A job must not outlive its chunks, which were written before it.
        await ensure_ttl_index(self._mongo, CHUNKS, "written", (retention_days + 1) * DAY_S)

    async def load(self, keys: Sequence[JobKey]) -> dict[JobKey, StoredJob]:
        """The stored ones of these jobs."""
        with mongo_errors():
            found = await self._jobs.find(
                {"_id": {"$in": [job_documents.job_document_id(key) for key in keys]}},
                _excluded_fields(NO_PROJECTION, _IN_JOBS),
            ).to_list(None)
        standings = [job_documents.stored_job_from(document) for document in found]
        return {standing.job.key: standing for standing in standings}

    async def write(self, changes: Sequence[JobChange]) -> frozenset[JobKey]:
        """Write jobs; return those that may not have been written."""
        written = self._now()
        new = [change for change in changes if not change.expected_version]
        known = [change for change in changes if change.expected_version]
        lost, unmatched = await self._save(
            self._jobs,
            [job_documents.job_document(change, written) for change in new],
            [job_documents.job_update(change, written) for change in known],
        )
        again = {new[index].job.key for index in lost}
        return frozenset(again | ({change.job.key for change in known} if unmatched else set()))

    async def wait_until_durable(self) -> None:
        """Return when a majority has in its journals what the primary has by now."""
        with mongo_errors():
            # A write that finds nothing to do waits for the last one that did something, by whomever that was. (A read
            # with linearizable concern would wait for the next time that the journal is written, a tenth of a second.)
            await self._jobs.update_one({"_id": ""}, {"$set": {"site": 0}})

    async def load_chunks(self, job: Job, numbers: Sequence[int]) -> dict[int, Block]:
        """The stored ones of these chunks."""
        found = await self._load_chunks(self._chunks, job, numbers, NO_PROJECTION)
        return {block.number: block for block in found}

    async def write_chunks(self, changes: Sequence[ChunkChange]) -> frozenset[int]:
        """Write chunks of one job; return the numbers of those that may not have been written."""
        written = self._now()
        new = [change for change in changes if not change.expected_version]
        known = [change for change in changes if change.expected_version]
        lost, unmatched = await self._save(
            self._chunks,
            [job_documents.chunk_document(change, written) for change in new],
            [job_documents.chunk_update(change, written) for change in known],
        )
        again = {new[index].block.number for index in lost}
        return frozenset(again | ({change.block.number for change in known} if unmatched else set()))

    async def find(self, key: JobKey, projection: Projection = NO_PROJECTION) -> StoredJob | None:
        """The job as readers may see it."""
        return (await self.find_many([key], projection)).get(key)

    async def find_many(self, keys: Sequence[JobKey], projection: Projection) -> dict[JobKey, StoredJob]:
        """Those of the jobs that are there, as readers may see them."""
        fields = _excluded_fields(projection, _IN_JOBS) if projection else job_documents.SUMMARY_FIELDS
        ids = list(map(job_documents.job_document_id, keys))
        # The document with one key is found without a plan.
        where = {"_id": {"$in": ids} if len(ids) > 1 else ids[0]}
        with mongo_errors():
            found = await self._majority_jobs.find(where, fields).to_list(None)
        standings = (
            map(job_documents.stored_job_from, found)
            if projection
            else [StoredJob(job_documents.summary_job_from(one), None) for one in found]
        )
        return {standing.job.key: standing for standing in standings}

    async def find_chunks(self, job: Job, numbers: Sequence[int], projection: Projection) -> list[Block]:
        """These chunks as readers may see them."""
        return await self._load_chunks(self._majority_chunks, job, numbers, projection)

    async def list_jobs(self, listing: JobListQuery) -> list[Job]:
        """A page of jobs and one more."""
        with mongo_errors():
            found = await self._raw_jobs.find(**_find_arguments(listing)).to_list(None)
        return [job_documents.summary_job_from_raw(document.raw) for document in found]

    async def count_open(self) -> dict[JobState, int]:
        """How many jobs there are in each state that is not final; raises `Away`."""
        sites = await self._sites()
        with mongo_errors():
            return {
                state: await self._jobs.count_documents(_in_states([state], sites), hint="kinds")
                for state in OPEN_STATES
            }

    async def find_overdue(self, before_us: int, *, limit: int) -> list[JobHeader]:
        """Open jobs that were last written before that time, the longest first; raises `Away`."""
        before = datetime.fromtimestamp(before_us / 1_000_000, UTC)
        standing_still = _in_states(OPEN_STATES, await self._sites()) | {_WRITTEN: {"$lt": before}}
        with mongo_errors():
            found = (
                await self._majority_jobs.find(standing_still, job_documents.HEADER_FIELDS, hint="kinds")
                .sort(_WRITTEN, 1)
                .limit(limit)
                .to_list(None)
            )
        return [job_documents.header_from(document) for document in found]

    async def _sites(self) -> list[int]:
        """Whose jobs there are; the index tells, and sites are few."""
        with mongo_errors():
            sites: list[int] = await self._jobs.distinct("site")
        return sites

    async def _load_chunks(self, collection: Any, job: Job, numbers: Sequence[int], texts: Projection) -> list[Block]:
        if not numbers:
            return []
        ids = [job_documents.chunk_document_id(job.key, number) for number in numbers]
        with mongo_errors():
            found = await collection.find({"_id": {"$in": ids}}, _excluded_fields(texts, _IN_CHUNKS)).to_list(None)
        return [job_documents.block_from(document, job.profile.total) for document in found]

    async def _save(
        self, collection: Any, documents: list[job_documents.Document], updates: list[job_documents.Update]
    ) -> tuple[Sequence[int], bool]:
        """Insert and update; return the places of documents that are there already, and whether an update failed."""
        if not updates:
            return await self._insert(collection, documents), False
        if not documents:
            return (), await self._update(collection, updates)
        return await asyncio.gather(self._insert(collection, documents), self._update(collection, updates))

    async def _insert(self, collection: Any, documents: list[job_documents.Document]) -> Sequence[int]:
        """Insert in no particular order; return the places of those whose key is there already."""
        if not documents:
            return ()
        with mongo_errors(), _translate_size_errors():
            try:
                await collection.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                _raise_if_too_large(error)
                return duplicate_indexes(error)
        return ()

    async def _update(self, collection: Any, updates: list[job_documents.Update]) -> bool:
        """Return whether any of them found its state changed."""
        if not updates:
            return False
        with mongo_errors(), _translate_size_errors():
            try:
                done = await collection.bulk_write(list(map(_to_update_one, updates)), ordered=False)
            except BulkWriteError as error:
                _raise_if_too_large(error)
                raise
        # Each changes at least the version, of what it finds as it was.
        return bool(done.modified_count < len(updates))


@contextmanager
def _translate_size_errors() -> Iterator[None]:
    try:
        yield
    except DocumentTooLarge as error:
        raise JobTooLargeError("the event is larger than a document may be") from error
    except OperationFailure as error:
        if error.code not in _TOO_BIG:
            raise
        raise JobTooLargeError("the job would be larger than a document may be") from error


def _raise_if_too_large(error: BulkWriteError) -> None:
    faults = (error.details or {}).get("writeErrors", ())
    if any(
        fault["code"] in _TOO_BIG or (fault["code"] == _BAD_VALUE and _TOO_LARGE in fault["errmsg"]) for fault in faults
    ):
        raise JobTooLargeError("the job would be larger than a document may be") from error


def _to_update_one(update: job_documents.Update) -> UpdateOne:
    return UpdateOne(update.filter, update.change, array_filters=[update.stored] if update.stored else None)


def _excluded_fields(projection: Projection, where: str) -> dict[str, int]:
    return {where + field: 0 for text, field in _FIELDS.items() if text not in projection}


def _in_states(states: Sequence[JobState], sites: Sequence[int]) -> dict[str, Any]:
    """What the jobs of these sites in these states have in common, in the words of the index."""
    kinds = [job_documents.filter_key(*kind) for kind in product(states, TYPES, MODES)]
    return {"site": {"$in": list(sites)}, _KIND: {"$in": kinds}}


def _find_arguments(listing: JobListQuery) -> dict[str, Any]:
    """A page of jobs and one more, in the words of `find`."""
    where: dict[str, Any] = {"site": listing.site}
    if listing.is_filtered:
        where[_KIND] = {"$in": [job_documents.filter_key(*kind) for kind in listing.combinations()]}
    before = [job_documents.list_position_at(listing.to_us)] if listing.to_us is not None else []
    if listing.after is not None:
        before.append(job_documents.list_position(*listing.after))
    place = {"$lt": min(before)} if before else {}
    if listing.from_us is not None:
        place["$gte"] = job_documents.list_position_at(listing.from_us)
    if place:
        where["place"] = place
    return {
        "filter": where,
        "projection": job_documents.SUMMARY_FIELDS,
        "sort": _ORDER,
        "hint": "kinds" if listing.is_filtered else "newest",
        "limit": listing.rows + 1,
        # One batch: the server's first would end after a hundred.
        "batch_size": listing.rows + 1,
    }
