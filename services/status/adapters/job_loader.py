"""Questions of one moment as one query: hundreds who are woken together would otherwise ask hundreds of times."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from services.status.domain.block import Block
from services.status.domain.facts import Key
from services.status.domain.job import Job, Standing
from services.status.domain.listing import Listing
from services.status.domain.texts import NO_TEXTS, Texts

# A query has so many jobs at most: small ones come with all their records.
MOST = 100


class Store(Protocol):
    """Finds several jobs at once. Each call raises `Away`."""

    async def find_all(self, keys: Sequence[Key], texts: Texts) -> dict[Key, Standing]:
        """Those of the jobs that are there."""
        ...

    async def read_chunks(self, job: Job, numbers: Sequence[int], texts: Texts) -> list[Block]:
        """These chunks with these texts; those that are gone are left out."""
        ...

    async def listed(self, listing: Listing) -> list[Job]:
        """Jobs of one site, newest first: at most one more than a page holds."""
        ...


class Gathering:
    """Finds jobs for readers: all who ask in one turn of the event loop share a query, made once all have asked."""

    def __init__(self, jobs: Store) -> None:
        self._jobs = jobs
        self._open: dict[Texts, tuple[set[Key], asyncio.Task[dict[Key, Standing]]]] = {}
        self.read_chunks = jobs.read_chunks
        self.listed = jobs.listed

    async def find(self, key: Key, texts: Texts = NO_TEXTS) -> Standing | None:
        """The job as it is now; raises `Away`."""
        keys, answer = self._open.get(texts) or self._opened(texts)
        keys.add(key)
        if len(keys) >= MOST:
            self._open.pop(texts, None)
        # Who gives up must not take the answer from the others.
        return (await asyncio.shield(answer)).get(key)

    def _opened(self, texts: Texts) -> tuple[set[Key], asyncio.Task[dict[Key, Standing]]]:
        keys: set[Key] = set()
        answer = asyncio.create_task(self._ask(keys, texts))
        answer.add_done_callback(_heard)
        self._open[texts] = keys, answer
        return keys, answer

    async def _ask(self, keys: set[Key], texts: Texts) -> dict[Key, Standing]:
        # Nobody joins any more: the answer might be older than the question.
        if texts in self._open and self._open[texts][0] is keys:
            del self._open[texts]
        return await self._jobs.find_all(list(keys), texts)


def _heard(answer: "asyncio.Task[dict[Key, Standing]]") -> None:
    """All who asked may be gone when it fails."""
    if not answer.cancelled():
        answer.exception()
