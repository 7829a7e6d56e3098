"""Rings for what other replicas write: one change stream, open only while somebody waits."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from pymongo.errors import PyMongoError

from services.chassis.mongodb.client import ChangeStream, Mongo
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import logger
from services.status import metrics
from services.status.adapters.job_store import JOBS
from services.status.adapters.notifier import HandBell
from services.status.wire import key_of

# Long enough to see that nobody waits any more, short enough to stop quickly.
TURN_MS = 500
# Opening a stream takes a few milliseconds; a pause between two waits is not worth it.
IDLE_S = 5.0
# A wait need not fail because changes of others cannot be watched: our own are rung for anyway.
PATIENCE_S = 1.0

_WRITES = {"$match": {"operationType": {"$in": ["insert", "update", "replace"]}}}
_KEYS = {"$project": {"documentKey": 1}}
_LOG = logger(__name__)


class ChangeWatch:
    """Watches the jobs' collection on behalf of a bell."""

    def __init__(self, mongo: Mongo, bell: HandBell, *, clock_s: Callable[[], float]) -> None:
        self._mongo = mongo
        self._bell = bell
        self._clock_s = clock_s
        self._open = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._stopping = False
        bell.before_waiting = self.opened

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
        if self._running is not None:
            await self._running

    async def opened(self) -> None:
        """Return once changes are watched, or if that takes too long: then only our own are noticed."""
        if self._open.is_set():
            return
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._watch())
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await self._open.wait()

    async def _watch(self) -> None:
        while not self._stopping:
            try:
                async with self._mongo.watch(
                    self._mongo.collection(JOBS), [_WRITES, _KEYS], max_await_ms=TURN_MS
                ) as changes:
                    self._open.set()
                    metrics.WATCHES_OPENED.inc()
                    # What happened while nobody watched is found by looking once.
                    self._bell.ring_all()
                    await self._follow(changes)
            except (UnavailableError, PyMongoError) as error:
                _LOG.warning("changes are not watched", error=type(error).__name__)
                await asyncio.sleep(TURN_MS / 1000)
            finally:
                self._open.clear()
            # Closing takes a while: who has begun to wait meanwhile has another one.
            if not self._bell.is_waited_for:
                return

    async def _follow(self, changes: ChangeStream) -> None:
        """Ring until nobody has waited for a while."""
        waited_s = self._clock_s()
        while not self._stopping and self._clock_s() - waited_s < IDLE_S:
            self._bell.ring([key_of(change["documentKey"]["_id"]) for change in await changes.next()])
            if self._bell.is_waited_for:
                waited_s = self._clock_s()
