"""Fakes of status' ports; the job store in memory keeps the guarantees of `MongoJobStore`."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from services.chassis.runtime.errors import UnavailableError
from services.jobs.events import JobKey
from services.status.adapters import job_documents
from services.status.domain.block import NO_PROJECTION, Block, Projection
from services.status.domain.job import ChunkChange, Job, JobChange, StoredJob
from services.status.domain.listing import JobListQuery
from services.status.domain.profile import SiteProfile
from tests.status.builders import DEMO_SITE

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class FakeSiteProfiles:
    def get(self, site: int) -> SiteProfile:
        del site
        return DEMO_SITE


class FakeNotifier:
    """Records the notified keys."""

    def __init__(self) -> None:
        self.notified: list[JobKey] = []

    def notify(self, keys: Sequence[JobKey]) -> None:
        self.notified += keys


class FakeFinishedPublisher:
    """Keeps the jobs of which the end was published; raises `UnavailableError` while `fails`."""

    def __init__(self) -> None:
        self.published: list[Job] = []
        self.fails = False

    async def publish_finished(self, jobs: Sequence[Job]) -> None:
        if self.fails:
            raise UnavailableError("Kafka")
        self.published += jobs


class MemoryJobStore:
    """Documents by `_id`; writes check the same conditions as MongoDB.

    `turns` returns how often other tasks run before an operation; `fails` how it fails: "", before or after it is done.
    `guarded=False` plants a bug: writes do not check their conditions.
    """

    def __init__(
        self,
        *,
        turns: Callable[[], int] = lambda: 0,
        fails: Callable[[], str] = lambda: "",
        guarded: bool = True,
    ) -> None:
        self.job_documents: dict[str, Any] = {}
        self.chunk_documents: dict[str, Any] = {}
        self.writes = 0
        self._turns = turns
        self._fails = fails
        self._guarded = guarded

    async def load(self, keys: Sequence[JobKey]) -> dict[JobKey, StoredJob]:
        await self._yield_to_others()
        found = [
            self.job_documents[job_documents.job_document_id(key)]
            for key in keys
            if job_documents.job_document_id(key) in self.job_documents
        ]
        return {job_documents.key_from(document["_id"]): job_documents.stored_job_from(document) for document in found}

    async def write(self, changes: Sequence[JobChange]) -> frozenset[JobKey]:
        lost, lost_updates = set(), False
        for change in changes:
            failing = await self._yield_to_others()
            if change.expected_version:
                lost_updates |= not self._update_job(job_documents.job_update(change, NOON))
            elif not self._insert(self.job_documents, job_documents.job_document(change, NOON)):
                lost.add(change.job.key)
            if failing:
                raise UnavailableError("memory")
        if lost_updates:
            lost |= {change.job.key for change in changes if change.expected_version}
        return frozenset(lost)

    async def write_chunks(self, changes: Sequence[ChunkChange]) -> frozenset[int]:
        lost = set()
        for change in changes:
            failing = await self._yield_to_others()
            done = (
                self._update_chunk(job_documents.chunk_update(change, NOON))
                if change.expected_version
                else self._insert(self.chunk_documents, job_documents.chunk_document(change, NOON))
            )
            if not done:
                lost.add(change.block.number)
            if failing:
                raise UnavailableError("memory")
        return frozenset(lost)

    async def find(self, key: JobKey, projection: Projection = NO_PROJECTION) -> StoredJob | None:
        await self._yield_to_others()
        found = self.job_documents.get(job_documents.job_document_id(key))
        if found is None:
            return None
        return (
            job_documents.stored_job_from(found)
            if projection
            else StoredJob(job_documents.summary_job_from(found), None)
        )

    async def find_chunks(
        self, job: Job, numbers: Sequence[int], projection: Projection = NO_PROJECTION
    ) -> list[Block]:
        del projection
        await self._yield_to_others()
        return self._found(job, numbers)

    async def iterate_chunks(
        self, job: Job, numbers: Sequence[int], projection: Projection
    ) -> AsyncGenerator[Block, None]:
        for block in await self.find_chunks(job, numbers, projection):
            yield block

    async def list_jobs(self, query: JobListQuery) -> list[Job]:
        kinds = {job_documents.filter_key(*kind) for kind in query.combinations()}
        found = [
            job_documents.summary_job_from(d)
            for d in sorted(self.job_documents.values(), key=_list_position, reverse=True)
            if d["site"] == query.site and d["job"][0]["state"]["filter"] in kinds and _matches(d, query)
        ]
        return found[: query.rows + 1]

    def _found(self, job: Job, numbers: Sequence[int]) -> list[Block]:
        keys = [job_documents.chunk_document_id(job.key, number) for number in numbers]
        return [
            job_documents.block_from(self.chunk_documents[key], job.profile.total)
            for key in keys
            if key in self.chunk_documents
        ]

    def _insert(self, where: dict[str, Any], document: Any) -> bool:
        if self._guarded and document["_id"] in where:
            return False
        where[document["_id"]] = document
        self.writes += 1
        return True

    def _update_chunk(self, update: job_documents.Update) -> bool:
        found = self.chunk_documents.get(update.filter["_id"])
        if found is None or (self._guarded and any(found.get(name) != value for name, value in update.filter.items())):
            return False
        self.chunk_documents[update.filter["_id"]] = _changed(found, update.change)
        self.writes += 1
        return True

    def _update_job(self, update: job_documents.Update) -> bool:
        """The fields of a job are addressed through the array filter."""
        found = self.job_documents.get(update.filter["_id"])
        if found is None:
            return False
        (job,) = found["job"]
        known = {name.removeprefix("stored."): value for name, value in (update.stored or {}).items()}
        if self._guarded and any(_at(job, name) != value for name, value in known.items()):
            return False
        self.job_documents[update.filter["_id"]] = {
            **found,
            "job": [_changed(job, update.change, named="job.$[stored].")],
        }
        self.writes += 1
        return True

    async def _yield_to_others(self) -> bool:
        """Let other tasks run; returns whether to fail after the operation."""
        for _ in range(self._turns()):
            await asyncio.sleep(0)
        failing = self._fails()
        if failing == "before":
            raise UnavailableError("memory")
        return failing == "after"


def _changed(document: Any, change: Any, named: str = "") -> Any:
    changed = dict(document)
    for name, value in change["$set"].items():
        changed[name.removeprefix(named)] = value
    for name, more in change.get("$push", {}).items():
        changed[name.removeprefix(named)] = [*document[name.removeprefix(named)], *more["$each"]]
    return changed


def _at(document: Any, path: str) -> Any:
    for name in path.split("."):
        document = document[name]
    return document


def _list_position(document: Any) -> tuple[int, str]:
    return document["job"][0]["profile"]["created"], document["_id"]


def _matches(document: Any, query: JobListQuery) -> bool:
    created, _ = _list_position(document)
    if query.from_us is not None and created < query.from_us:
        return False
    if query.to_us is not None and created >= query.to_us:
        return False
    if query.after is None:
        return True
    last = job_documents.job_document_id(JobKey(query.site, query.after.job_id))
    return (created, document["_id"]) < (query.after.created_us, last)
