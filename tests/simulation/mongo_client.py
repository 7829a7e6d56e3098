"""A client of the simulated replica set with the interface of PyMongo's asynchronous one."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import bson
from pymongo.errors import AutoReconnect, BulkWriteError, DuplicateKeyError, NetworkTimeout, OperationFailure

from tests.simulation import documents as language
from tests.simulation.bulk_writes import bulk_result, duplicate_key, outcome_of
from tests.simulation.documents import Document
from tests.simulation.mongo_cursors import ChangeCursor, ListCursor, SimulatedCursor
from tests.simulation.network import ANSWER, REQUEST, LostError, Network
from tests.simulation.replica_set import (
    ID_INDEX,
    SERVER_OPTIONS,
    DuplicateError,
    Index,
    ReplicaSet,
    encode,
    not_primary,
)

SERVER = "mongodb"
# Pause between two searches for a primary.
SELECTION_S = 0.05
# Time between two operations of a bulk write.
OPERATION_S = 0.0003


class SimulatedMongoClient:
    """Connects to the replica set of `cluster`, over `network`; both belong to the whole simulation."""

    cluster: ReplicaSet
    network: Network

    def __init__(self, uri: str, **options: Any) -> None:
        self.uri = uri
        self.retries_writes = bool(options.get("retryWrites", True))
        self.timeout_s = options["timeoutMS"] / 1000
        self.topology_description = SimpleNamespace(has_writable_server=lambda: self.cluster.has_primary)

    def get_database(self, _name: str, write_concern: Any = None) -> "SimulatedDatabase":
        return SimulatedDatabase(self, write_concern)

    async def close(self) -> None:
        """Do nothing: there are no connections."""

    async def call(self, work: Callable[[], Awaitable[Any]], *, is_write: bool) -> Any:
        """Send a command and return its answer; raises what PyMongo raises when that fails."""
        try:
            async with asyncio.timeout(self.timeout_s):
                try:
                    return await self._attempt(work, is_write=is_write)
                except AutoReconnect:
                    if is_write and not self.retries_writes:
                        raise
                return await self._attempt(work, is_write=is_write)
        except TimeoutError as error:
            raise NetworkTimeout("timed out") from error

    async def _attempt(self, work: Callable[[], Awaitable[Any]], *, is_write: bool) -> Any:
        while not self.cluster.has_primary:  # noqa: ASYNC110 - as the driver does
            await asyncio.sleep(SELECTION_S)
        try:
            await self.network.travel(SERVER, REQUEST)
            if not self.cluster.has_primary:
                raise AutoReconnect("connection closed")
            result = await (self._detached(work) if is_write else work())
            await self.network.travel(SERVER, ANSWER)
        except LostError:
            raise AutoReconnect("connection closed") from None
        return result

    @staticmethod
    async def _detached(work: Callable[[], Awaitable[Any]]) -> Any:
        """Run a command that goes on when its client has gone."""
        command = asyncio.ensure_future(work())
        command.add_done_callback(_retrieve)
        return await asyncio.shield(command)


def _retrieve(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()


class SimulatedDatabase:
    """The database of a client."""

    def __init__(self, client: SimulatedMongoClient, write_concern: Any) -> None:
        self.client = client
        self.write_concern = write_concern

    def __getitem__(self, name: str) -> "SimulatedCollection":
        return SimulatedCollection(self, name, self.write_concern)

    async def command(self, _command: Any, *_arguments: Any, **_options: Any) -> dict[str, Any]:
        async def answer() -> dict[str, Any]:
            return {"ok": 1.0}

        result: dict[str, Any] = await self.client.call(answer, is_write=False)
        return result


class SimulatedCollection:
    """A collection with its concerns and codecs."""

    def __init__(
        self, database: SimulatedDatabase, name: str, write_concern: Any, read_concern: Any = None, codec: Any = None
    ) -> None:
        self.database = database
        self.name = name
        self.codec_options = codec or SERVER_OPTIONS
        self._write_concern = write_concern
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

    async def find_one(
        self,
        filter: Mapping[str, Any],
        projection: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        found = await self.find(filter, projection, limit=1, **options).to_list(None)
        return found[0] if found else None

    async def read(self, work: Callable[[list[Document]], Any]) -> Any:
        is_majority = self._read_concern is not None and self._read_concern.level == "majority"

        async def run() -> Any:
            return work(list(self._server.scan(self.name, majority=is_majority)))

        return await self._client.call(run, is_write=False)

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

    async def _write(self, change: Callable[[], Any]) -> Any:
        """Run the change on the server, once: a driver that sends it again has the same transaction number."""
        done_at: tuple[int, int] | None = None
        result: Any = None
        error: Exception | None = None

        async def run() -> Any:
            nonlocal done_at, result, error
            if done_at is None or not self._server.has_kept(*done_at):
                result = error = None
                try:
                    result = change()
                except (OperationFailure, BulkWriteError) as failure:
                    error = failure
                done_at = self._server.term, self._server.last_time
            if self._write_concern is not None and self._write_concern.document.get("w") == "majority":
                # Also of what others wrote, if this write has changed nothing or failed.
                await self._server.wait_for_majority()
            if error is not None:
                raise error
            return result

        return await self._client.call(run, is_write=True)

    def _matching(self, query: Mapping[str, Any]) -> list[Document]:
        if isinstance(query.get("_id"), str | int):
            one = self._server.documents(self.name).latest.get(query["_id"])
            return [one] if one is not None and language.matches(one, query) else []
        return [one for one in self._server.scan(self.name, majority=False) if language.matches(one, query)]

    def _store(self, key: Any, document: Document | None) -> None:
        try:
            self._server.write(self.name, key, document)
        except DuplicateError as error:
            raise duplicate_key(error.index) from None

    def _insert(self, document: Document) -> None:
        if document["_id"] in self._server.documents(self.name).latest:
            raise duplicate_key(ID_INDEX)
        self._store(document["_id"], document)

    async def insert_one(self, document: Mapping[str, Any]) -> None:
        await self._write(partial(self._insert, encode(document, self.codec_options)))

    async def insert_many(self, new: Sequence[Mapping[str, Any]], *, ordered: bool) -> None:
        stored = [encode(document, self.codec_options) for document in new]
        await self._bulk([partial(self._insert, document) for document in stored], ordered=ordered)

    async def _bulk(self, operations: Sequence[Callable[[], Any]], *, ordered: bool) -> SimpleNamespace:
        """Run the operations one after the other: others run in between, and an election may leave the rest undone.

        A driver that sends them again has the same transaction number: only those are run that the primary lacks.
        """
        done: dict[int, tuple[tuple[int, int], Any]] = {}

        async def run() -> SimpleNamespace:
            term = self._server.term
            for index, operation in enumerate(operations):
                if index in done and self._server.has_kept(*done[index][0]):
                    continue
                await asyncio.sleep(OPERATION_S if index else 0)
                if self._server.term != term or not self._server.has_primary:
                    raise not_primary()
                outcome = outcome_of(operation)
                done[index] = (self._server.term, self._server.last_time), outcome
                if ordered and isinstance(outcome, DuplicateKeyError):
                    break
            if self._write_concern is not None and self._write_concern.document.get("w") == "majority":
                await self._server.wait_for_majority()
            return bulk_result({index: outcome for index, (_, outcome) in sorted(done.items())})

        result: SimpleNamespace = await self._client.call(run, is_write=True)
        return result

    async def bulk_write(self, requests: Sequence[Any], *, ordered: bool) -> Any:
        operations = [
            partial(
                self._update,
                encode(request._filter, self.codec_options),
                _encoded_update(request._doc, self.codec_options),
                upsert=bool(request._upsert),
                array_filters=[encode(one, self.codec_options) for one in request._array_filters or ()],
            )
            for request in requests
        ]
        return await self._bulk(operations, ordered=ordered)

    def _update(
        self,
        query: Mapping[str, Any],
        update: Any,
        *,
        upsert: bool = False,
        many: bool = False,
        array_filters: Sequence[Mapping[str, Any]] = (),
    ) -> SimpleNamespace:
        found = self._matching(query)
        modified = 0
        for old in found if many else found[:1]:
            new = language.apply_update(old, update, query=query, array_filters=array_filters)
            if new != old:
                self._store(old["_id"], new)
                modified += 1
        if not found and upsert:
            new = language.apply_update(language.upserted(query), update, query=query, is_insert=True)
            self._insert(new)
        return SimpleNamespace(matched_count=len(found) if many else len(found[:1]), modified_count=modified)

    async def update_one(self, filter: Mapping[str, Any], update: Any, *, upsert: bool = False) -> Any:
        options = self.codec_options
        change = partial(self._update, encode(filter, options), _encoded_update(update, options), upsert=upsert)
        return await self._write(change)

    async def update_many(self, filter: Mapping[str, Any], update: Any) -> Any:
        options = self.codec_options
        return await self._write(
            partial(self._update, encode(filter, options), _encoded_update(update, options), many=True)
        )

    async def replace_one(self, filter: Mapping[str, Any], document: Any, *, upsert: bool = False) -> Any:
        new = encode(document, self.codec_options)

        def change() -> SimpleNamespace:
            found = self._matching(filter)[:1]
            if found:
                self._store(found[0]["_id"], new)
            elif upsert:
                self._insert(new)
            return SimpleNamespace(matched_count=len(found), modified_count=len(found))

        return await self._write(change)

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
        query, change = encode(filter, self.codec_options), _encoded_update(update, self.codec_options)

        def run() -> Document | None:
            found = language.sort_documents(self._matching(query), sort)[:1]
            if not found:
                if not upsert:
                    return None
                new = language.apply_update(language.upserted(query), change, query=query, is_insert=True)
                self._insert(new)
                return new if return_document else None
            (old,) = found
            new = language.apply_update(old, change, query=query)
            if new != old:
                self._store(old["_id"], new)
            return new if return_document else old

        found = await self._write(run)
        return None if found is None else self.decode(language.project(found, projection))

    async def _delete(self, query: Mapping[str, Any], *, many: bool) -> Any:
        stored = encode(query, self.codec_options)

        def change() -> SimpleNamespace:
            found = self._matching(stored)
            found = found if many else found[:1]
            for one in found:
                self._store(one["_id"], None)
            return SimpleNamespace(deleted_count=len(found))

        return await self._write(change)

    async def delete_one(self, filter: Mapping[str, Any], **_options: Any) -> Any:
        return await self._delete(filter, many=False)

    async def delete_many(self, filter: Mapping[str, Any], **_options: Any) -> Any:
        return await self._delete(filter, many=True)

    async def create_index(
        self,
        keys: Sequence[tuple[str, int]],
        *,
        name: str | None = None,
        unique: bool = False,
        sparse: bool = False,
        **options: Any,
    ) -> str:
        index = Index(name or "_".join(f"{key}_{way}" for key, way in keys), tuple(keys), unique, sparse, options)

        def change() -> None:
            try:
                self._server.documents(self.name).create_index(index)
            except DuplicateError as error:
                raise duplicate_key(error.index) from None

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


def _encoded_update(update: Any, options: Any) -> Any:
    if isinstance(update, Mapping):
        return encode(update, options)
    return [encode(stage, options) for stage in update]
