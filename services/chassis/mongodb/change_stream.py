"""Notifies waiting requests of other processes' writes: one change stream, open only while a request waits."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic

from prometheus_client import Counter
from pymongo.errors import PyMongoError

from services.chassis.mongodb.client import ChangeStream, Mongo
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import logger
from services.chassis.runtime.notifier import Key, Notifier

# Long enough not to poll busily, short enough to notice soon that no request waits or that the process stops.
MAX_AWAIT_MS = 500
# Opening a stream takes a few milliseconds, so it stays open between two waits.
IDLE_TIMEOUT_S = 5.0
# A wait need not fail if the stream cannot be opened: this process's own writes are notified anyway.
OPEN_TIMEOUT_S = 1.0

_WRITES = {"$match": {"operationType": {"$in": ["insert", "update", "replace"]}}}
_KEYS = {"$project": {"documentKey": 1}}
_LOG = logger(__name__)


class ChangeStreamListener(Generic[Key]):
    """Listens to the writes of a collection on behalf of a notifier; `to_key` converts a document's `_id` to its key.

    With `always_open`, it listens also while no request waits. `opened` counts the streams that were opened.
    """

    def __init__(
        self,
        mongo: Mongo,
        collection: str,
        notifier: Notifier[Key],
        *,
        to_key: Callable[[Any], Key],
        opened: Counter,
        clock_s: Callable[[], float],
        always_open: bool = False,
    ) -> None:
        self._mongo = mongo
        self._collection = collection
        self._notifier = notifier
        self._to_key = to_key
        self._opened = opened
        self._clock_s = clock_s
        self._always_open = always_open
        self._open = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        notifier.on_waiter = self.wait_until_open

    @property
    def is_open(self) -> bool:
        """Whether the change stream is open."""
        return self._open.is_set()

    async def start(self) -> None:
        """Open the stream in the background, if it is always open; otherwise the first waiting request does."""
        if self._always_open:
            self._task = asyncio.create_task(self._listen())

    async def stop(self) -> None:
        """Close the stream."""
        # Not cancelled: the driver may turn that into a lost connection, and the task would go on.
        self._stopping = True
        if self._task is not None:
            await self._task

    async def wait_until_open(self) -> None:
        """Return once the stream is open, or after a timeout: then only this process's own writes are notified."""
        if self._open.is_set():
            return
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen())
        with suppress(TimeoutError):
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await self._open.wait()

    @property
    def _is_needed(self) -> bool:
        return self._always_open or self._notifier.has_waiters

    async def _listen(self) -> None:
        while not self._stopping:
            try:
                async with self._mongo.watch(
                    self._mongo.collection(self._collection), [_WRITES, _KEYS], max_await_ms=MAX_AWAIT_MS
                ) as changes:
                    self._open.set()
                    self._opened.inc()
                    # Changes from before the stream was open are found by reading once.
                    self._notifier.notify_all()
                    await self._notify_until_idle(changes)
            except (UnavailableError, PyMongoError) as error:
                _LOG.warning("change stream failed, will reopen", error=type(error).__name__)
                await asyncio.sleep(MAX_AWAIT_MS / 1000)
            finally:
                self._open.clear()
            # Closing takes a while; a request that began to wait meanwhile needs a new stream.
            if not self._is_needed:
                return

    async def _notify_until_idle(self, changes: ChangeStream) -> None:
        last_needed_s = self._clock_s()
        while not self._stopping and self._clock_s() - last_needed_s < IDLE_TIMEOUT_S:
            self._notifier.notify([self._to_key(change["documentKey"]["_id"]) for change in await changes.next()])
            if self._is_needed:
                last_needed_s = self._clock_s()
