"""Questions of one moment as one query: hundreds who are woken together would otherwise ask hundreds of times."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from services.jobs.events import JobKey
from services.status.domain.block import NO_PROJECTION, Block, Projection
from services.status.domain.job import Job, StoredJob
from services.status.domain.listing import JobListQuery

# A query has so many jobs at most: small ones come with all their records.
MAX_JOBS_PER_QUERY = 100


class JobFinder(Protocol):
    """Finds several jobs at once. Each call raises `Away`."""

    async def find_many(self, keys: Sequence[JobKey], projection: Projection) -> dict[JobKey, StoredJob]:
        """Those of the jobs that are there."""
        ...

    async def find_chunks(self, job: Job, numbers: Sequence[int], texts: Projection) -> list[Block]:
        """These chunks with these texts; those that are gone are left out."""
        ...

    async def list_jobs(self, listing: JobListQuery) -> list[Job]:
        """Jobs of one site, newest first: at most one more than a page holds."""
        ...


class JobLoader:
    """Finds jobs for readers: all who ask in one turn of the event loop share a query, made once all have asked."""

    def __init__(self, jobs: JobFinder) -> None:
        self._jobs = jobs
        self._batches: dict[Projection, tuple[set[JobKey], asyncio.Task[dict[JobKey, StoredJob]]]] = {}
        self.find_chunks = jobs.find_chunks
        self.list_jobs = jobs.list_jobs

    async def find(self, key: JobKey, projection: Projection = NO_PROJECTION) -> StoredJob | None:
        """The job as it is now; raises `Away`."""
        keys, answer = self._batches.get(projection) or self._open_batch(projection)
        keys.add(key)
        if len(keys) >= MAX_JOBS_PER_QUERY:
            self._batches.pop(projection, None)
        # Who gives up must not take the answer from the others.
        return (await asyncio.shield(answer)).get(key)

    def _open_batch(self, texts: Projection) -> tuple[set[JobKey], asyncio.Task[dict[JobKey, StoredJob]]]:
        keys: set[JobKey] = set()
        answer = asyncio.create_task(self._run_query(keys, texts))
        answer.add_done_callback(_retrieve_exception)
        self._batches[texts] = keys, answer
        return keys, answer

    async def _run_query(self, keys: set[JobKey], texts: Projection) -> dict[JobKey, StoredJob]:
        # Nobody joins any more: the answer might be older than the question.
        if texts in self._batches and self._batches[texts][0] is keys:
            del self._batches[texts]
        return await self._jobs.find_many(list(keys), texts)


def _retrieve_exception(answer: "asyncio.Task[dict[JobKey, StoredJob]]") -> None:
    """All who asked may be gone when it fails."""
    if not answer.cancelled():
        answer.exception()
