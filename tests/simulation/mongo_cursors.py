"""Cursors of the simulated MongoDB client."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Self

import bson

from tests.simulation import documents as language
from tests.simulation.documents import Document
from tests.simulation.replica_set import encode

CHANGES_PER_BATCH = 100


class ListCursor:
    """A cursor over results that have been read."""

    def __init__(self, found: list[Any]) -> None:
        self._found = found

    async def to_list(self, _length: int | None = None) -> list[Any]:
        return self._found


class SimulatedCursor:
    """A query that is sent when its first result is needed."""

    # Not known, so that it is closed.
    cursor_id: int | None = None

    def __init__(
        self,
        collection: Any,
        query: Mapping[str, Any],
        projection: Mapping[str, Any] | None,
        options: Mapping[str, Any],
    ) -> None:
        self._collection = collection
        self._query = encode(query, collection.codec_options)
        self._projection = projection
        self._order = list(options.get("sort") or ())
        self._limit = int(options.get("limit") or 0)
        self._session = options.get("session")
        self._results: list[Any] | None = None

    def sort(self, keys: Any, direction: int = 1) -> "SimulatedCursor":
        self._order = [(keys, direction)] if isinstance(keys, str) else list(keys)
        return self

    def limit(self, count: int) -> "SimulatedCursor":
        self._limit = count
        return self

    def hint(self, _index: Any) -> "SimulatedCursor":
        return self

    def batch_size(self, _size: int) -> "SimulatedCursor":
        return self

    async def close(self) -> None:
        """Do nothing: there is no cursor on the server."""

    async def to_list(self, length: int | None = None) -> list[Any]:
        if length is None:
            return await self._find()
        return [one async for one in _first(self, length)]

    async def _find(self) -> list[Any]:
        def run(scanned: list[Document]) -> list[Document]:
            found = [one for one in scanned if language.matches(one, self._query)]
            found = language.sort_documents(found, self._order) if self._order else found
            found = found[: self._limit] if self._limit else found
            return [language.project(one, self._projection) for one in found]

        found = await self._collection.read(run, self._session)
        return [self._collection.decode(one) for one in found]

    def __aiter__(self) -> "SimulatedCursor":
        return self

    async def __anext__(self) -> Any:
        if self._results is None:
            self._results = (await self._find())[::-1]
        if not self._results:
            raise StopAsyncIteration
        return self._results.pop()


class RawBatchCursor(SimulatedCursor):
    """A query whose results come as one batch of BSON."""

    async def __anext__(self) -> bytes:
        if self._results is None:
            self._results = await self._find()
            if self._results:
                return b"".join(map(bson.encode, self._results))
        raise StopAsyncIteration


async def _first(cursor: SimulatedCursor, length: int) -> AsyncIterator[Any]:
    for _ in range(length):
        try:
            yield await anext(cursor)
        except StopAsyncIteration:
            return


class ChangeCursor:
    """Changes of a collection since the cursor was opened, once a majority has them."""

    def __init__(self, watched: Any, stages: Sequence[Mapping[str, Any]], max_await_s: float) -> None:
        self._watched = watched
        self._stages = stages
        self._max_await_s = max_await_s
        self.changed = asyncio.Event()
        self.position = 0
        self.alive = True

    async def try_next(self) -> bytes | None:
        if self.position == len(self._watched.changes):
            self.changed.clear()
            try:
                async with asyncio.timeout(self._max_await_s):
                    await self.changed.wait()
            except TimeoutError:
                return None
        new = self._watched.changes[self.position : self.position + CHANGES_PER_BATCH]
        self.position += len(new)
        events = [{"operationType": kind, "documentKey": {"_id": key}} for kind, key in new]
        return b"".join(map(bson.encode, language.aggregate(events, self._stages))) or None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watched.watchers.remove(self.changed)
