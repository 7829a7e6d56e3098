"""MongoDB through Motor or PyMongo's own async client; hides their differences.

Collections acknowledge a write when a majority of the members has it in its journal. Methods that both drivers share
(`find`, `insert_many`, `bulk_write`, `update_one`, …) are called on the collection itself; cursors of `find` are read
with `async for` or `to_list(None)`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from inspect import isawaitable
from typing import Any, Self

import pymongo
from bson import decode_all
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, ReadPreference, WriteConcern, monitoring
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
    WTimeoutError,
)
from pymongo.read_concern import ReadConcern

from services.chassis.runtime import metrics
from services.chassis.runtime.errors import ContentionError, UnavailableError
from services.chassis.runtime.settings import MongoSettings, exit_with_errors

CONNECTIONS = metrics.gauge("mongodb_pool_connections", "Connections to MongoDB, open and in use.", ["state"])
WAIT_SECONDS = metrics.histogram("mongodb_pool_wait_seconds", "Time to check out a connection.")
CHECKOUT_FAILURES = metrics.counter(
    "mongodb_pool_checkout_failures_total", "Failed checkouts of a connection.", ["reason"]
)

DURABLE = WriteConcern(w="majority", j=True)

# Longer than any build of an index takes.
INDEX_TIMEOUT_S = 86_400.0
DUPLICATE_KEY = 11000
_BAD_VALUE = 2
_INDEX_CONFLICTS = (85, 86)
# Interrupted, stepping down, shutting down, out of disk, out of time: retrying may succeed.
_TRANSIENT = frozenset(
    {6, 7, 50, 64, 79, 89, 91, 100, 112, 189, 237, 251, 262, 9001, 10107, 11600, 11602, 13435, 13436, 14031}
)

Document = Mapping[str, Any]


class PoolMetrics(monitoring.ConnectionPoolListener):
    """Maintains the pool's metrics; called by the driver from any thread."""

    def __init__(self) -> None:
        self._open = CONNECTIONS.labels("open")
        self._in_use = CONNECTIONS.labels("in_use")

    def connection_created(self, _event: monitoring.ConnectionCreatedEvent) -> None:
        """Count a connection, which is not yet connected."""
        self._open.inc()

    def connection_closed(self, _event: monitoring.ConnectionClosedEvent) -> None:
        """Count a closed connection."""
        self._open.dec()

    def connection_checked_out(self, event: monitoring.ConnectionCheckedOutEvent) -> None:
        """Count a connection in use."""
        self._in_use.inc()
        WAIT_SECONDS.observe(event.duration or 0.0)

    def connection_checked_in(self, _event: monitoring.ConnectionCheckedInEvent) -> None:
        """Count a returned connection."""
        self._in_use.dec()

    def connection_check_out_failed(self, event: monitoring.ConnectionCheckOutFailedEvent) -> None:
        """Count a failed checkout."""
        CHECKOUT_FAILURES.labels(event.reason).inc()

    def _ignore(self, event: Any) -> None:
        """Do nothing."""

    # A connection counts as open before it is ready; the connections of a cleared pool are closed one by one.
    connection_check_out_started = connection_ready = _ignore
    pool_created = pool_ready = pool_cleared = pool_closed = _ignore


class Mongo:
    """A client and its database. Belongs to the event loop in which it was created."""

    def __init__(self, client: Any, database: str) -> None:
        self.client = client
        self._database = client.get_database(database, write_concern=DURABLE)
        self._is_motor = isinstance(client, AsyncIOMotorClient)

    @classmethod
    def connect(cls, settings: MongoSettings, *, retry_writes: bool = True) -> "Mongo":
        """Return a client that connects on first use. Without `retry_writes` the caller retries failed writes.

        A URI that the driver rejects ends the process, as any other invalid setting does.
        """
        driver: Any = AsyncIOMotorClient if settings.mongo_driver == "motor" else AsyncMongoClient
        timeout_ms = settings.mongodb_timeout_ms
        try:
            client = driver(
                settings.mongodb_uri.get_secret_value(),
                retryWrites=retry_writes,
                timeoutMS=timeout_ms,
                serverSelectionTimeoutMS=timeout_ms,
                connectTimeoutMS=timeout_ms,
                appname="tillstream",
                tz_aware=True,
                event_listeners=[PoolMetrics()],
            )
        except (ConfigurationError, ValueError, OSError) as error:
            # The driver's message may quote credentials.
            raise exit_with_errors([f"  MONGODB_URI: is not a usable MongoDB URI ({_describe(error)})"]) from None
        return cls(client, settings.mongodb_database)

    @property
    def ready(self) -> bool:
        """Whether the driver knows a primary: it notices a lost one at once, a new one within ten seconds."""
        driver = self.client.delegate if self._is_motor else self.client
        return bool(driver.topology_description.has_writable_server())

    def collection(self, name: str) -> Any:
        """Return the collection, with durable writes."""
        return self._database[name]

    async def ping(self) -> None:
        """Return if a primary answers; raises `UnavailableError`."""
        with mongo_errors():
            await self._database.command("ping", read_preference=ReadPreference.PRIMARY)

    async def start(self) -> None:
        """Do nothing: the client connects on first use."""

    async def close(self) -> None:
        """Close all connections."""
        closing = self.client.close()
        if closing is not None:
            await closing

    stop = close

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def aggregate(self, collection: Any, pipeline: Sequence[Document], **options: Any) -> list[dict[str, Any]]:
        """Return all results of the pipeline; raises `UnavailableError`."""
        with mongo_errors():
            cursor = collection.aggregate(list(pipeline), **options)
            if not self._is_motor:
                cursor = await cursor
            found: list[dict[str, Any]] = await cursor.to_list(None)
            return found

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """Yield a session; the operations that get it see one state, and are stored together at the end of the block.

        Raises `ContentionError` if another transaction has changed the same, and `UnavailableError`, also if it is
        unknown whether the commit succeeded.
        """
        session = await self._start_session()
        try:
            with _transaction_errors():
                started = session.start_transaction(
                    read_concern=ReadConcern("snapshot"), write_concern=DURABLE, read_preference=ReadPreference.PRIMARY
                )
                if not self._is_motor:
                    await started
                yield session
                await session.commit_transaction()
        finally:
            # In a task of its own: a cancelled one must not leave locks behind.
            await asyncio.shield(asyncio.create_task(_end_session(session)))

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Any]:
        """Yield a session; the queries that get it, within minutes, see one state that a majority has."""
        session = await self._start_session(snapshot=True)
        try:
            yield session
        finally:
            await asyncio.shield(asyncio.create_task(_end_session(session)))

    async def _start_session(self, **options: Any) -> Any:
        with mongo_errors():
            session = self.client.start_session(**options)
            return await session if self._is_motor else session

    @asynccontextmanager
    async def watch(
        self, collection: Any, pipeline: Sequence[Document], *, max_await_ms: int
    ) -> AsyncIterator["ChangeStream"]:
        """Watch the collection's changes, processed by the pipeline, from the beginning of the block.

        Raises `UnavailableError`; a broken stream is not resumed.
        """
        stages = [{"$changeStream": {}}, *pipeline]
        with mongo_errors():
            if self._is_motor:
                # Motor can neither open a stream without waiting for its first change nor return changes in batches.
                run = asyncio.get_running_loop().run_in_executor
                open_cursor = partial(collection.delegate.aggregate_raw_batches, stages, maxAwaitTimeMS=max_await_ms)
                cursor = await run(None, open_cursor)
                try:
                    yield ChangeStream(cursor, lambda: run(None, cursor.try_next))
                finally:
                    await run(None, cursor.close)
            else:
                async with await collection.aggregate_raw_batches(stages, maxAwaitTimeMS=max_await_ms) as cursor:
                    yield ChangeStream(cursor, cursor.try_next)


async def _end_session(session: Any) -> None:
    """End the session, and abort its transaction if there is one."""
    with suppress(PyMongoError):
        await session.end_session()


@contextmanager
def _transaction_errors() -> Iterator[None]:
    with mongo_errors():
        try:
            yield
        except PyMongoError as error:
            if error.has_error_label("TransientTransactionError") and not isinstance(error, ConnectionFailure):
                raise ContentionError("MongoDB") from error
            raise


def _describe(error: Exception) -> str:
    return f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else type(error).__name__


class ChangeStream:
    """Changes of a collection, in batches: hundreds at once cost little more than one."""

    def __init__(self, cursor: Any, next_batch: Callable[[], Awaitable[bytes | None]]) -> None:
        self._cursor = cursor
        self._next_batch = next_batch

    async def next(self) -> list[dict[str, Any]]:
        """Return the changes since the last call; empty after `max_await_ms` without any. Raises `UnavailableError`.

        Must not be cancelled: with Motor a thread would go on reading from the stream.
        """
        with mongo_errors():
            batch = await self._next_batch()
        if batch is None and not self._cursor.alive:
            # For example, the collection was dropped: from now on every call would return nothing at once.
            raise UnavailableError("the change stream")
        return decode_all(batch or b"")


@contextmanager
def mongo_errors(dependency: str = "MongoDB") -> Iterator[None]:
    """Raise `UnavailableError` if the database does not answer, or leaves the outcome unknown."""
    try:
        yield
    except PyMongoError as error:
        if is_transient(error):
            raise UnavailableError(dependency) from error
        raise


async def fetch_all(cursor: Any) -> list[dict[str, Any]]:
    """Return all documents of a cursor of `find`; raises `UnavailableError`."""
    with mongo_errors():
        found: list[dict[str, Any]] = await cursor.to_list(None)
        return found


def is_transient(error: PyMongoError) -> bool:
    """Whether the same call may succeed later."""
    if isinstance(error, BulkWriteError):
        details = error.details or {}
        codes = {each.get("code") for each in details.get("writeErrors", ())}
        return bool(details.get("writeConcernErrors")) or bool(codes & _TRANSIENT)
    if isinstance(error, (ConnectionFailure, WTimeoutError)) or error.timeout:
        return True
    return isinstance(error, OperationFailure) and (error.code in _TRANSIENT or _is_missing_index(error))


def _is_missing_index(error: OperationFailure) -> bool:
    """Whether a hint names an index that does not exist: services create theirs when they start."""
    return error.code == _BAD_VALUE and "hint" in str(error)


def duplicate_positions(error: BulkWriteError) -> list[int]:
    """Return the indexes of the operations whose key already exists; raises the error if there were others."""
    details = error.details or {}
    write_errors = details.get("writeErrors", [])
    if is_transient(error) or any(each["code"] != DUPLICATE_KEY for each in write_errors):
        raise error
    return [each["index"] for each in write_errors]


class DuplicatesError(UnavailableError):
    """A unique index cannot be built before documents with the same key are removed (see the runbook)."""

    state = "prevented by duplicates"


async def create_index(collection: Any, keys: Sequence[tuple[str, int]], **options: Any) -> None:
    """Create the index, however long that takes; raises `UnavailableError`.

    A build that its client gives up is aborted, and would begin again. When this is cancelled, the build ends.
    """
    client = collection.database.client
    with mongo_errors():
        # Under the ordinary timeout: during the build's, the driver would wait for a primary.
        await collection.database.command("ping")
        session = client.start_session()
        session = await session if isawaitable(session) else session
        try:
            with pymongo.timeout(INDEX_TIMEOUT_S):
                await collection.create_index(keys, session=session, **options)
        except asyncio.CancelledError:
            # A thread of Motor's would go on, and keep the process from ending.
            await asyncio.shield(asyncio.create_task(_kill_session(client, session)))
            raise
        finally:
            await asyncio.shield(asyncio.create_task(_end_session(session)))


async def _kill_session(client: Any, session: Any) -> None:
    """End the operation that the session is used for."""
    with suppress(PyMongoError):
        await client.admin.command({"killSessions": [session.session_id]})


async def create_unique_index(
    collection: Any, keys: Sequence[tuple[str, int]], *, name: str, sparse: bool = False
) -> None:
    """Create the index; raises `DuplicatesError` or another `UnavailableError`."""
    try:
        await create_index(collection, keys, name=name, unique=True, sparse=sparse)
    except DuplicateKeyError:
        raise DuplicatesError(f"the unique index {name} of {collection.name}") from None


async def ensure_ttl_index(mongo: Mongo, collection: str, field: str, seconds: int) -> None:
    """Create the TTL index on this field, or change its expiry; raises `UnavailableError`."""
    with mongo_errors():
        target = mongo.collection(collection)
        try:
            await create_index(target, [(field, 1)], name=f"{field}_1", expireAfterSeconds=seconds)
        except OperationFailure as error:
            if error.code not in _INDEX_CONFLICTS:
                raise
            change = {"name": f"{field}_1", "expireAfterSeconds": seconds}
            await target.database.command("collMod", collection, index=change)
