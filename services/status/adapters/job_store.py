"""Jobs in MongoDB.

Two collections: `jobs` (small ones whole, large ones without their runs) and `chunks`. Every index slows writes down,
so `jobs` has two: one for unfiltered lists, and one for every filter and for open jobs, of which a query names all
matching keys and MongoDB merges their sorted results. Queries name their index: with a choice, MongoDB plans for
longer and keeps a plan that suited another list. Retention counts from the first write: later ones need not move the
job in that index.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import product
from typing import Any, TypeVar

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, DocumentTooLarge, OperationFailure
from pymongo.read_concern import ReadConcern

from services.chassis.mongodb.client import (
    Mongo,
    create_index,
    duplicate_positions,
    ensure_ttl_index,
    fetch_all,
    mongo_errors,
)
from services.jobs.events import JobHeader, JobKey
from services.status.adapters import job_documents
from services.status.domain.block import NO_PROJECTION, Block, Projection
from services.status.domain.job import OPEN_STATES, ChunkChange, Job, JobChange, JobState, StoredJob
from services.status.domain.listing import MODES, TYPES, JobListQuery
from services.status.ports import JobReader, JobTooLargeError, JobWriter, OverdueJobs

Change = TypeVar("Change", JobChange, ChunkChange)

JOBS, CHUNKS = "jobs", "chunks"
DAY_S = 86_400
MAX_JOBS_PER_BATCH = 1_000

_FILTER, _WRITTEN = f"{job_documents.STATE}.filter", f"{job_documents.STATE}.written"
_ORDER = [("position", -1)]
# `written` is there for overdue jobs, which are found without loading the jobs themselves.
_INDEXES = {"newest": [("site", 1), *_ORDER], "filtered": [("site", 1), (_FILTER, 1), *_ORDER, (_WRITTEN, 1)]}

# Optional fields of runs, in chunks and in small jobs.
_FIELDS = {Projection.ROWS: "runs.rows", Projection.EVENTS: "runs.events", Projection.DETAILS: "runs.details"}
_IN_CHUNKS, _IN_JOBS = "", "job."
# BSONObjectTooLarge, and the code of an update that makes a document too large.
_TOO_LARGE_CODES = (10334, 17419)
# BadValue: an insert that exceeds the limit by less than the drivers' margin has no code of its own.
_BAD_VALUE, _INSERT_TOO_LARGE = 2, "object to insert too large"


class MongoJobStore(JobWriter, JobReader, OverdueJobs):
    """Stores jobs in MongoDB. Retention counts from `now` at the first write. Every call raises `UnavailableError`."""

    def __init__(self, mongo: Mongo, *, now: Callable[[], datetime]) -> None:
        self._mongo = mongo
        self._now = now
        # Neither readers nor writers may conclude anything from a write that a failing primary may roll back. A write
        # that conflicts with one of these fails only after a majority has it: then it can be read, too.
        majority = ReadConcern("majority")
        self._jobs = mongo.collection(JOBS).with_options(read_concern=majority)
        self._chunks = mongo.collection(CHUNKS).with_options(read_concern=majority)

    async def create_indexes(self, *, retention_days: int) -> None:
        """Create the indexes, or change the retention of existing ones."""
        for name, fields in _INDEXES.items():
            await create_index(self._jobs, fields, name=name)
        await ensure_ttl_index(self._mongo, JOBS, "inserted", retention_days * DAY_S)
        # A job must not outlive its chunks, which were written before it.
        await ensure_ttl_index(self._mongo, CHUNKS, "written", (retention_days + 1) * DAY_S)

    async def load(self, keys: Sequence[JobKey]) -> dict[JobKey, StoredJob]:
        ids = [job_documents.job_document_id(key) for key in keys]
        found = self._jobs.find({"_id": {"$in": ids}}, _excluded_fields(NO_PROJECTION, _IN_JOBS))
        documents = await fetch_all(found)
        jobs = [job_documents.stored_job_from(document) for document in documents]
        return {stored.job.key: stored for stored in jobs}

    async def write(self, changes: Sequence[JobChange]) -> frozenset[JobKey]:
        lost = await self._save(self._jobs, changes, job_documents.job_document, job_documents.job_update)
        return frozenset([change.job.key for change in lost])

    async def write_chunks(self, changes: Sequence[ChunkChange]) -> frozenset[int]:
        lost = await self._save(self._chunks, changes, job_documents.chunk_document, job_documents.chunk_update)
        return frozenset([change.block.number for change in lost])

    async def find(self, key: JobKey, projection: Projection = NO_PROJECTION) -> StoredJob | None:
        return (await self.find_many([key], projection)).get(key)

    async def find_many(self, keys: Sequence[JobKey], projection: Projection) -> dict[JobKey, StoredJob]:
        """Return the jobs that exist, for readers."""
        fields = _excluded_fields(projection, _IN_JOBS) if projection else job_documents.SUMMARY_FIELDS
        ids = list(map(job_documents.job_document_id, keys))
        # A single `_id` is found without a plan.
        where = {"_id": {"$in": ids} if len(ids) > 1 else ids[0]}
        documents = await fetch_all(self._jobs.find(where, fields))
        if projection:
            jobs = [job_documents.stored_job_from(document) for document in documents]
        else:
            jobs = [StoredJob(job_documents.summary_job_from(document), None) for document in documents]
        return {stored.job.key: stored for stored in jobs}

    async def find_chunks(
        self, job: Job, numbers: Sequence[int], projection: Projection = NO_PROJECTION
    ) -> list[Block]:
        return [block async for block in self.iterate_chunks(job, sorted(numbers), projection)]

    async def iterate_chunks(
        self, job: Job, numbers: Sequence[int], projection: Projection
    ) -> AsyncGenerator[Block, None]:
        if not numbers:
            return
        ids = [job_documents.chunk_document_id(job.key, number) for number in numbers]
        cursor = self._chunks.find({"_id": {"$in": ids}}, _excluded_fields(projection, _IN_CHUNKS))
        cursor.sort("_id", 1 if numbers[0] <= numbers[-1] else -1)
        try:
            with mongo_errors():
                # MongoDB sends up to 16 MB at a time, and so much is in memory: a chunk may be as large.
                async for document in cursor:
                    yield job_documents.block_from(document, job.profile.total)
        finally:
            # When the last batch has been read, there is nothing to close; with Motor that would take a thread.
            if cursor.cursor_id != 0:
                await cursor.close()

    async def list_jobs(self, query: JobListQuery) -> list[Job]:
        jobs: list[Job] = []
        with mongo_errors():
            # Read in batches: all of a long list at once would hold the event loop.
            async for batch in self._jobs.find_raw_batches(**_find_arguments(query)):
                jobs += map(job_documents.summary_job_from_raw, job_documents.split_batch(batch))
        return jobs

    async def count_open(self) -> dict[JobState, int]:
        """Count the jobs in each state that is not final."""
        sites = await self._sites()
        with mongo_errors():
            return {
                state: await self._jobs.count_documents(_in_states([state], sites), hint="filtered")
                for state in OPEN_STATES
            }

    async def find_overdue(self, before_us: int, *, limit: int) -> list[JobHeader]:
        before = datetime.fromtimestamp(before_us / 1_000_000, UTC)
        overdue = _in_states(OPEN_STATES, await self._sites()) | {_WRITTEN: {"$lt": before}}
        found = self._jobs.find(overdue, job_documents.HEADER_FIELDS, hint="filtered").sort(_WRITTEN, 1).limit(limit)
        return [job_documents.header_from(document) for document in await fetch_all(found)]

    async def _sites(self) -> list[int]:
        """Return all sites with jobs; the index knows them, and they are few."""
        with mongo_errors():
            sites: list[int] = await self._jobs.distinct("site")
        return sites

    async def _save(
        self,
        collection: Any,
        changes: Sequence[Change],
        to_document: Callable[[Change, datetime], job_documents.Document],
        to_update: Callable[[Change, datetime], job_documents.Update],
    ) -> list[Change]:
        """Insert and update; returns the changes that may not have been written."""
        written = self._now()
        new = [change for change in changes if not change.expected_version]
        known = [change for change in changes if change.expected_version]
        duplicates, has_unmatched = await asyncio.gather(
            self._insert(collection, [to_document(change, written) for change in new]),
            self._update(collection, [to_update(change, written) for change in known]),
        )
        return [new[index] for index in duplicates] + (known if has_unmatched else [])

    async def _insert(self, collection: Any, documents: list[job_documents.Document]) -> Sequence[int]:
        """Insert in any order; returns the indexes of documents that exist already."""
        if not documents:
            return ()
        with mongo_errors(), _translate_size_errors():
            try:
                await collection.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                _raise_if_too_large(error)
                return duplicate_positions(error)
        return ()

    async def _update(self, collection: Any, updates: list[job_documents.Update]) -> bool:
        """Update in any order; returns whether any of them did not match."""
        if not updates:
            return False
        with mongo_errors(), _translate_size_errors():
            try:
                result = await collection.bulk_write(list(map(_to_update_one, updates)), ordered=False)
            except BulkWriteError as error:
                _raise_if_too_large(error)
                raise
        # Each that matches modifies the version at least.
        return bool(result.modified_count < len(updates))


@contextmanager
def _translate_size_errors() -> Iterator[None]:
    try:
        yield
    except DocumentTooLarge as error:
        raise JobTooLargeError("the event is larger than a document may be") from error
    except OperationFailure as error:
        if error.code not in _TOO_LARGE_CODES:
            raise
        raise JobTooLargeError("the job would be larger than a document may be") from error


def _raise_if_too_large(error: BulkWriteError) -> None:
    write_errors = (error.details or {}).get("writeErrors", ())
    if any(
        one["code"] in _TOO_LARGE_CODES or (one["code"] == _BAD_VALUE and _INSERT_TOO_LARGE in one["errmsg"])
        for one in write_errors
    ):
        raise JobTooLargeError("the job would be larger than a document may be") from error


def _to_update_one(update: job_documents.Update) -> UpdateOne:
    return UpdateOne(update.filter, update.change, array_filters=[update.stored] if update.stored else None)


def _excluded_fields(projection: Projection, prefix: str) -> dict[str, int]:
    return {prefix + field: 0 for flag, field in _FIELDS.items() if flag not in projection}


def _in_states(states: Sequence[JobState], sites: Sequence[int]) -> dict[str, Any]:
    """A filter for the jobs of these sites in these states that uses the index."""
    keys = [job_documents.filter_key(*combination) for combination in product(states, TYPES, MODES)]
    return {"site": {"$in": list(sites)}, _FILTER: {"$in": keys}}


def _find_arguments(query: JobListQuery) -> dict[str, Any]:
    """The arguments of `find` for a page of jobs and one more."""
    where: dict[str, Any] = {"site": query.site}
    if query.is_filtered:
        where[_FILTER] = {"$in": [job_documents.filter_key(*combination) for combination in query.combinations()]}
    before = [job_documents.list_position_at(query.to_us)] if query.to_us is not None else []
    if query.after is not None:
        before.append(job_documents.list_position(*query.after))
    position = {"$lt": min(before)} if before else {}
    if query.from_us is not None:
        position["$gte"] = job_documents.list_position_at(query.from_us)
    if position:
        where["position"] = position
    return {
        "filter": where,
        "projection": job_documents.SUMMARY_FIELDS,
        "sort": _ORDER,
        "hint": "filtered" if query.is_filtered else "newest",
        "limit": query.rows + 1,
        # By default, the first batch would end after a hundred.
        "batch_size": min(query.rows + 1, MAX_JOBS_PER_BATCH),
    }
