"""Rings for what other replicas write: one change stream, open only while somebody waits."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from pymongo.errors import PyMongoError

from services.chassis.mongodb.client import ChangeStream, Mongo
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import logger
from services.status import metrics
from services.status.adapters.job_documents import key_from
from services.status.adapters.job_store import JOBS
from services.status.adapters.notifier import JobNotifier

# Long enough to see that nobody waits any more, short enough to stop quickly.
MAX_AWAIT_MS = 500
# Opening a stream takes a few milliseconds; a pause between two waits is not worth it.
IDLE_TIMEOUT_S = 5.0
# A wait need not fail because changes of others cannot be watched: our own are rung for anyway.
OPEN_TIMEOUT_S = 1.0

_WRITES = {"$match": {"operationType": {"$in": ["insert", "update", "replace"]}}}
_KEYS = {"$project": {"documentKey": 1}}
_LOG = logger(__name__)


class ChangeStreamListener:
    """Watches the jobs' collection on behalf of a bell."""

    def __init__(self, mongo: Mongo, notifier: JobNotifier, *, clock_s: Callable[[], float]) -> None:
        self._mongo = mongo
        self._notifier = notifier
        self._clock_s = clock_s
        self._open = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        notifier.on_waiter = self.wait_until_open

    @property
    def is_open(self) -> bool:
        """Whether changes are watched."""
        return self._open.is_set()

    async def start(self) -> None:
        """Nothing: it begins with the first who waits."""

    async def stop(self) -> None:
        """Close the stream."""
        # Not cancelled: the driver may turn that into a lost connection, and the task would go on.
        self._stopping = True
        if self._task is not None:
            await self._task

    async def wait_until_open(self) -> None:
        """Return once changes are watched, or if that takes too long: then only our own are noticed."""
        if self._open.is_set():
            return
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen())
        with suppress(TimeoutError):
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await self._open.wait()

    async def _listen(self) -> None:
        while not self._stopping:
            try:
                async with self._mongo.watch(
                    self._mongo.collection(JOBS), [_WRITES, _KEYS], max_await_ms=MAX_AWAIT_MS
                ) as changes:
                    self._open.set()
                    metrics.WATCHES_OPENED.inc()
                    # What happened while nobody watched is found by looking once.
                    self._notifier.notify_all()
                    await self._notify_until_idle(changes)
            except (UnavailableError, PyMongoError) as error:
                _LOG.warning("changes are not watched", error=type(error).__name__)
                await asyncio.sleep(MAX_AWAIT_MS / 1000)
            finally:
                self._open.clear()
            # Closing takes a while: who has begun to wait meanwhile has another one.
            if not self._notifier.has_waiters:
                return

    async def _notify_until_idle(self, changes: ChangeStream) -> None:
        """Ring until nobody has waited for a while."""
        waited_s = self._clock_s()
        while not self._stopping and self._clock_s() - waited_s < IDLE_TIMEOUT_S:
            self._notifier.notify([key_from(change["documentKey"]["_id"]) for change in await changes.next()])
            if self._notifier.has_waiters:
                waited_s = self._clock_s()
