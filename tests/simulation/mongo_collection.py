"""A collection of the simulated replica set with the interface of PyMongo's asynchronous one."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import bson
from pymongo import DeleteMany, UpdateMany
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure

from tests.simulation import documents as language
from tests.simulation import mongo_writes as writes
from tests.simulation.documents import Document
from tests.simulation.mongo_cursors import ChangeCursor, ListCursor, RawBatchCursor, SimulatedCursor
from tests.simulation.replica_set import SERVER_OPTIONS, DuplicateError, Index, LockedError, encode, not_primary

# Time between two operations of a bulk write.
OPERATION_S = 0.0003
# Pause before a write that meets a transaction's document is tried again.
LOCK_RETRY_S = 0.002


class SimulatedCollection:
    """A collection with its concerns and codecs."""

    def __init__(
        self, database: Any, name: str, write_concern: Any, read_concern: Any = None, codec: Any = None
    ) -> None:
        self.database = database
        self.name = name
        self.codec_options = codec or SERVER_OPTIONS
        self._write_concern = write_concern
        self._is_durable = write_concern is not None and write_concern.document.get("w") == "majority"
        self._read_concern = read_concern
        self._client = database.client
        self._server = database.client.cluster

    def with_options(self, *, read_concern: Any = None, codec_options: Any = None) -> "SimulatedCollection":
        return SimulatedCollection(
            self.database,
            self.name,
            self._write_concern,
            read_concern or self._read_concern,
            codec_options or self.codec_options,
        )

    def find(
        self,
        filter: Mapping[str, Any] | None = None,
        projection: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> "SimulatedCursor":
        return SimulatedCursor(self, filter or {}, projection, options)

    def find_raw_batches(
        self, filter: Mapping[str, Any], projection: Mapping[str, Any] | None = None, **options: Any
    ) -> "RawBatchCursor":
        return RawBatchCursor(self, filter, projection, options)

    async def find_one(
        self,
        filter: Mapping[str, Any],
        projection: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        found = await self.find(filter, projection, limit=1, **options).to_list(None)
        return found[0] if found else None

    async def read(self, work: Callable[[list[Document]], Any], session: Any = None) -> Any:
        is_majority = self._read_concern is not None and self._read_concern.level == "majority"

        async def run() -> Any:
            if session is not None:
                return work(list(session.open().latest(self.name).values()))
            return work(list(self._server.scan(self.name, majority=is_majority)))

        return await self._client.call(run, is_write=False, retries=session is None)

    def decode(self, document: Document) -> Any:
        return bson.decode(bson.encode(document), codec_options=self.codec_options)

    async def count_documents(self, filter: Mapping[str, Any], **_options: Any) -> int:
        return int(await self.read(lambda found: sum(language.matches(one, filter) for one in found)))

    async def distinct(self, name: str) -> list[Any]:
        found: list[Any] = await self.read(
            lambda found: sorted({value for one in found for value in language.values_at(one, name)})
        )
        return found

    async def aggregate(self, pipeline: Sequence[Mapping[str, Any]], **_options: Any) -> "ListCursor":
        results = await self.read(lambda found: language.aggregate(found, pipeline))
        return ListCursor([self.decode(one) for one in results])

    async def _write(self, change: writes.Write, session: Any = None, *, is_retryable: bool = True) -> Any:
        """Run the change on the server, once: a driver that sends it again has the same transaction number.

        A driver does not send again what may change many documents.
        """
        done_at: tuple[int, int] | None = None
        result: Any = None
        error: Exception | None = None

        async def run_in_transaction() -> Any:
            return change(session.open())

        async def run() -> Any:
            nonlocal done_at, result, error
            if done_at is None or not self._server.has_kept(*done_at):
                result = error = None
                try:
                    result = await self._run_unlocked(change)
                except (OperationFailure, BulkWriteError) as failure:
                    error = failure
                done_at = self._server.term, self._server.last_time
            if self._is_durable:
                # Also of what others wrote, if this write has changed nothing or failed.
                await self._server.wait_for_majority()
            if error is not None:
                raise error
            return result

        if session is not None:
            return await self._client.call(run_in_transaction, is_write=True, retries=False)
        return await self._client.call(run, is_write=True, retries=is_retryable)

    async def _run_unlocked(self, change: writes.Write) -> Any:
        """Run the change once no transaction holds a document that it writes."""
        while True:
            try:
                return change(self._server)
            except LockedError:
                await asyncio.sleep(LOCK_RETRY_S)

    async def insert_one(self, document: Mapping[str, Any], *, session: Any = None) -> Any:
        return await self._write(partial(writes.insert, self.name, encode(document, self.codec_options)), session)

    async def insert_many(self, new: Sequence[Mapping[str, Any]], *, ordered: bool, session: Any = None) -> None:
        inserts = [partial(writes.insert, self.name, encode(document, self.codec_options)) for document in new]
        await self._bulk(inserts, session, ordered=ordered)

    async def bulk_write(self, requests: Sequence[Any], *, ordered: bool, session: Any = None) -> Any:
        operations = [writes.to_write(self.name, request, self.codec_options) for request in requests]
        is_retryable = not any(isinstance(request, UpdateMany | DeleteMany) for request in requests)
        return await self._bulk(operations, session, ordered=ordered, is_retryable=is_retryable)

    async def _bulk(
        self, operations: Sequence[writes.Write], session: Any, *, ordered: bool, is_retryable: bool = True
    ) -> Any:
        """Run the operations one after the other: others run in between, and an election may leave the rest undone.

        A driver that sends them again has the same transaction number: only those are run that the primary lacks.
        """
        if session is not None:
            return await self._write(partial(writes.bulk_in_transaction, operations, ordered=ordered), session)
        done: dict[int, tuple[tuple[int, int], Any]] = {}

        async def run() -> Any:
            term = self._server.term
            for index, operation in enumerate(operations):
                if index in done and self._has_run(*done[index]):
                    continue
                await asyncio.sleep(OPERATION_S if index else 0)
                if self._server.term != term or not self._server.has_primary:
                    raise not_primary()
                outcome = await self._run_unlocked(partial(writes.outcome_of, operation))
                done[index] = (self._server.term, self._server.last_time), outcome
                if ordered and isinstance(outcome, DuplicateKeyError):
                    break
            if self._is_durable:
                await self._server.wait_for_majority()
            return writes.bulk_result({index: outcome for index, (_, outcome) in sorted(done.items())})

        return await self._client.call(run, is_write=True, retries=is_retryable)

    def _has_run(self, at: tuple[int, int], outcome: Any) -> bool:
        """Whether an operation must not run again: one that failed does, and may end an ordered write again."""
        return not isinstance(outcome, DuplicateKeyError) and self._server.has_kept(*at)

    async def _update(self, query: Mapping[str, Any], change: Any, session: Any, **options: Any) -> Any:
        stored, update = encode(query, self.codec_options), writes.encoded_update(change, self.codec_options)
        write = partial(writes.update, self.name, stored, update, **options)
        return await self._write(write, session, is_retryable=not options.get("many", False))

    async def update_one(
        self, filter: Mapping[str, Any], update: Any, *, upsert: bool = False, session: Any = None
    ) -> Any:
        return await self._update(filter, update, session, upsert=upsert)

    async def update_many(self, filter: Mapping[str, Any], update: Any, *, session: Any = None) -> Any:
        return await self._update(filter, update, session, many=True)

    async def replace_one(self, filter: Mapping[str, Any], document: Any, *, upsert: bool = False) -> Any:
        query, new = encode(filter, self.codec_options), encode(document, self.codec_options)
        return await self._write(partial(writes.replace, self.name, query, new, upsert=upsert))

    async def find_one_and_update(
        self,
        filter: Mapping[str, Any],
        update: Any,
        *,
        projection: Mapping[str, Any] | None = None,
        sort: Sequence[tuple[str, int]] = (),
        upsert: bool = False,
        return_document: bool = False,
    ) -> Any:
        query, change = encode(filter, self.codec_options), writes.encoded_update(update, self.codec_options)
        run = partial(writes.find_and_update, self.name, query, change)
        found = await self._write(partial(run, sort=sort, upsert=upsert, returns_new=return_document))
        return None if found is None else self.decode(language.project(found, projection))

    async def delete_one(self, filter: Mapping[str, Any], **_options: Any) -> Any:
        return await self._write(partial(writes.delete, self.name, encode(filter, self.codec_options)))

    async def delete_many(self, filter: Mapping[str, Any], **_options: Any) -> Any:
        query = encode(filter, self.codec_options)
        return await self._write(partial(writes.delete, self.name, query, many=True), is_retryable=False)

    async def create_index(
        self,
        keys: Sequence[tuple[str, int]],
        *,
        name: str | None = None,
        unique: bool = False,
        sparse: bool = False,
        session: Any = None,
        **options: Any,
    ) -> str:
        del session
        index = Index(name or "_".join(f"{key}_{way}" for key, way in keys), tuple(keys), unique, sparse, options)

        def change(_target: writes.Target) -> None:
            try:
                self._server.documents(self.name).create_index(index)
            except DuplicateError as error:
                raise writes.duplicate_key(error.index) from None

        await self._write(change)
        return index.name

    async def aggregate_raw_batches(
        self,
        stages: Sequence[Mapping[str, Any]],
        *,
        maxAwaitTimeMS: int,  # noqa: N803 - PyMongo's name
    ) -> "ChangeCursor":
        watched = self._server.documents(self.name)
        cursor = ChangeCursor(watched, list(stages[1:]), maxAwaitTimeMS / 1000)

        async def open_cursor() -> None:
            watched.watchers.append(cursor.changed)
            cursor.position = len(watched.changes)

        await self._client.call(open_cursor, is_write=False)
        return cursor
