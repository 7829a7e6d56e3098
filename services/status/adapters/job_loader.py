"""Batches lookups of jobs: hundreds of requests that wake together would otherwise query hundreds of times."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from services.chassis.runtime.background import retrieve_exception
from services.jobs.events import JobKey
from services.status.domain.block import NO_PROJECTION, Projection
from services.status.domain.job import StoredJob
from services.status.ports import JobReader

MAX_JOBS_PER_QUERY = 100
# Small jobs come with their records, which may take a megabyte: they are read in smaller batches.
MAX_WHOLE_JOBS_PER_QUERY, MAX_WHOLE_JOBS_QUERIES = 25, 4


class JobFinder(JobReader, Protocol):
    """Finds several jobs at once."""

    async def find_many(self, keys: Sequence[JobKey], projection: Projection) -> dict[JobKey, StoredJob]:
        """Return the jobs that exist; raises `UnavailableError`."""


class JobLoader:
    """Finds jobs for readers: all lookups of one iteration of the event loop share a query (the DataLoader pattern)."""

    def __init__(self, jobs: JobFinder) -> None:
        self._jobs = jobs
        self._batches: dict[Projection, tuple[set[JobKey], asyncio.Task[dict[JobKey, StoredJob]]]] = {}
        self._whole_jobs = asyncio.Semaphore(MAX_WHOLE_JOBS_QUERIES)
        self.iterate_chunks = jobs.iterate_chunks
        self.list_jobs = jobs.list_jobs

    async def find(self, key: JobKey, projection: Projection = NO_PROJECTION) -> StoredJob | None:
        """Return the job in its present state; raises `UnavailableError`."""
        keys, query = self._batches.get(projection) or self._open_batch(projection)
        keys.add(key)
        if len(keys) >= (MAX_JOBS_PER_QUERY if projection == NO_PROJECTION else MAX_WHOLE_JOBS_PER_QUERY):
            self._batches.pop(projection, None)
        # A cancelled request must not cancel the others' query.
        return (await asyncio.shield(query)).get(key)

    def _open_batch(self, projection: Projection) -> tuple[set[JobKey], asyncio.Task[dict[JobKey, StoredJob]]]:
        keys: set[JobKey] = set()
        query = asyncio.create_task(self._run_query(keys, projection))
        query.add_done_callback(retrieve_exception)
        self._batches[projection] = keys, query
        return keys, query

    async def _run_query(self, keys: set[JobKey], projection: Projection) -> dict[JobKey, StoredJob]:
        if projection == NO_PROJECTION:
            return await self._run_now(keys, projection)
        async with self._whole_jobs:
            return await self._run_now(keys, projection)

    async def _run_now(self, keys: set[JobKey], projection: Projection) -> dict[JobKey, StoredJob]:
        # Closed to later lookups: the result might be older than they are.
        if projection in self._batches and self._batches[projection][0] is keys:
            del self._batches[projection]
        return await self._jobs.find_many(list(keys), projection)
