"""MongoDB behind one seam: Motor or PyMongo's own async client, and their differences hidden.

A collection taken from here acknowledges a write when a majority has it in its journal. What both drivers spell the
same (`find`, `insert_many`, `bulk_write`, `update_one`, …) is called on the collection itself; cursors of `find` are
read with `async for` or `to_list(None)`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Self

from bson import decode_all
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, ReadPreference, WriteConcern, monitoring
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    OperationFailure,
    PyMongoError,
    WTimeoutError,
)

from services.chassis.runtime import metrics
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import MongoSettings, exit_with_errors

CONNECTIONS = metrics.gauge(
    "mongodb_pool_connections", "Connections to MongoDB, open ones and those in use.", ["state"]
)
WAIT_SECONDS = metrics.histogram("mongodb_pool_wait_seconds", "Time until the pool gave a connection.")
REFUSED = metrics.counter(
    "mongodb_pool_checkout_failures_total", "Times the pool had no connection to give.", ["reason"]
)

DURABLE = WriteConcern(w="majority", j=True)

DUPLICATE_KEY = 11000
_INDEX_CONFLICTS = (85, 86)
# Interrupted, stepping down, shutting down, out of disk, out of time: the server's words for "not now".
_TRANSIENT = frozenset(
    {6, 7, 50, 64, 79, 89, 91, 100, 112, 189, 237, 251, 262, 9001, 10107, 11600, 11602, 13435, 13436, 14031}
)

Document = Mapping[str, Any]


class PoolMetrics(monitoring.ConnectionPoolListener):
    """Keeps the pool's metrics. Called by the driver, from any thread."""

    def __init__(self) -> None:
        self._open = CONNECTIONS.labels("open")
        self._in_use = CONNECTIONS.labels("in_use")

    def connection_created(self, event: monitoring.ConnectionCreatedEvent) -> None:
        """One more, not yet connected."""
        del event
        self._open.inc()

    def connection_closed(self, event: monitoring.ConnectionClosedEvent) -> None:
        """One less."""
        del event
        self._open.dec()

    def connection_checked_out(self, event: monitoring.ConnectionCheckedOutEvent) -> None:
        """Somebody got one."""
        self._in_use.inc()
        WAIT_SECONDS.observe(event.duration or 0.0)

    def connection_checked_in(self, event: monitoring.ConnectionCheckedInEvent) -> None:
        """It came back."""
        del event
        self._in_use.dec()

    def connection_check_out_failed(self, event: monitoring.ConnectionCheckOutFailedEvent) -> None:
        """Somebody got none."""
        REFUSED.labels(event.reason).inc()

    def connection_check_out_started(self, event: monitoring.ConnectionCheckOutStartedEvent) -> None:
        """Nothing to tell yet."""

    def connection_ready(self, event: monitoring.ConnectionReadyEvent) -> None:
        """Nothing to tell: it counts as open already."""

    def pool_created(self, event: monitoring.PoolCreatedEvent) -> None:
        """Nothing to tell."""

    def pool_ready(self, event: monitoring.PoolReadyEvent) -> None:
        """Nothing to tell."""

    def pool_cleared(self, event: monitoring.PoolClearedEvent) -> None:
        """Nothing to tell: its connections are closed one by one."""

    def pool_closed(self, event: monitoring.PoolClosedEvent) -> None:
        """Nothing to tell, likewise."""


class Mongo:
    """A client and its database. Belongs to the event loop in which it was made."""

    def __init__(self, client: Any, database: str) -> None:
        self.client = client
        self._database = client.get_database(database, write_concern=DURABLE)
        self._is_motor = isinstance(client, AsyncIOMotorClient)

    @classmethod
    def connect(cls, settings: MongoSettings, *, retry_writes: bool = True) -> "Mongo":
        """A client that connects on first use. Without `retry_writes` the caller repeats what failed.

        An address that the driver cannot use ends the process, as any setting that cannot be used.
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
            # The driver's words may quote what the address holds.
            raise exit_with_errors(
                [f"  MONGODB_URI: has an option, a port, a host or a file that is none ({_kind(error)})"]
            ) from None
        return cls(client, settings.mongodb_database)

    @property
    def ready(self) -> bool:
        """Whether the driver knows of a primary: it notices at once when that goes, in ten seconds when one comes."""
        driver = self.client.delegate if self._is_motor else self.client
        return bool(driver.topology_description.has_writable_server())

    def collection(self, name: str) -> Any:
        """The collection, with durable writes."""
        return self._database[name]

    async def ping(self) -> None:
        """Return if a primary answers; raises `Away`."""
        with mongo_errors():
            await self._database.command("ping", read_preference=ReadPreference.PRIMARY)

    async def close(self) -> None:
        """Let go of all connections."""
        closing = self.client.close()
        if closing is not None:
            await closing

    async def start(self) -> None:
        """Nothing: it connects on first use."""

    async def stop(self) -> None:
        """Let go of all connections."""
        await self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def aggregate(self, collection: Any, pipeline: Sequence[Document], **options: Any) -> list[dict[str, Any]]:
        """All that the pipeline yields; raises `Away`."""
        with mongo_errors():
            cursor = collection.aggregate(list(pipeline), **options)
            if not self._is_motor:
                cursor = await cursor
            found: list[dict[str, Any]] = await cursor.to_list(None)
            return found

    @asynccontextmanager
    async def watch(
        self, collection: Any, pipeline: Sequence[Document], *, max_await_ms: int
    ) -> AsyncIterator["ChangeStream"]:
        """The collection's changes from now on, each as the pipeline leaves it; raises `Away`.

        They are watched when the block begins. A stream that breaks is not taken up again: that is the caller's.
        """
        stages = [{"$changeStream": {}}, *pipeline]
        with mongo_errors():
            if self._is_motor:
                # Motor can neither open a stream without waiting for its first change nor tell several changes at once.
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


def _kind(error: Exception) -> str:
    return f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else type(error).__name__


class ChangeStream:
    """Changes of a collection, told in batches: hundreds at once cost little more than one."""

    def __init__(self, cursor: Any, next_batch: Callable[[], Awaitable[bytes | None]]) -> None:
        self._cursor = cursor
        self._next_batch = next_batch

    async def next(self) -> list[dict[str, Any]]:
        """What has changed since the last call; empty if nothing did for `max_await_ms`. Raises `Away`.

        Not to be cancelled: with Motor a thread would go on reading from the stream.
        """
        with mongo_errors():
            batch = await self._next_batch()
        if batch is None and not self._cursor.alive:
            # As when the collection is dropped: it would answer at once from now on, and with nothing.
            raise UnavailableError("the change stream")
        return decode_all(batch or b"")


@contextmanager
def mongo_errors(dependency: str = "MongoDB") -> Iterator[None]:
    """Raise `Away` where the database does not answer, or does not say whether it did what it was asked."""
    try:
        yield
    except PyMongoError as error:
        if is_transient(error):
            raise UnavailableError(dependency) from error
        raise


def is_transient(error: PyMongoError) -> bool:
    """Whether the same call may succeed later."""
    if isinstance(error, BulkWriteError):
        details = error.details or {}
        codes = {fault.get("code") for fault in details.get("writeErrors", ())}
        return bool(details.get("writeConcernErrors")) or bool(codes & _TRANSIENT)
    if isinstance(error, (ConnectionFailure, WTimeoutError)) or error.timeout:
        return True
    return isinstance(error, OperationFailure) and error.code in _TRANSIENT


def duplicate_indexes(error: BulkWriteError) -> list[int]:
    """Which of the operations met a key that is there already; raises the error if anything else went wrong."""
    details = error.details or {}
    faults = details.get("writeErrors", [])
    if is_transient(error) or any(fault["code"] != DUPLICATE_KEY for fault in faults):
        raise error
    return [fault["index"] for fault in faults]


async def ensure_ttl_index(mongo: Mongo, collection: str, field: str, seconds: int) -> None:
    """Keep the collection's TTL index on this field as it should be; raises `Away`."""
    with mongo_errors():
        target = mongo.collection(collection)
        try:
            await target.create_index([(field, 1)], name=f"{field}_1", expireAfterSeconds=seconds)
        except OperationFailure as error:
            if error.code not in _INDEX_CONFLICTS:
                raise
            change = {"name": f"{field}_1", "expireAfterSeconds": seconds}
            await target.database.command("collMod", collection, index=change)
