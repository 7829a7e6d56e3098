"""Runs the checks and imports that this process has leased."""

import asyncio
from collections.abc import Mapping
from functools import partial
from uuid import uuid4

from services.chassis.runtime.background import BackgroundTask
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import logger
from services.portal.domain.file_import import MAX_RUNNING_PER_SITE, FileImport
from services.portal.flows.run_imports import Deps, run_import

# Requests that are in flight when the process stops have this time to end.
DRAIN_S = 7.0
_LOG = logger(__name__)


class ImportWorker(BackgroundTask):
    """Leases imports and runs up to `capacity` of them; waits for the next one, or until it is woken.

    A process that stops gives its imports back at once; one that dies keeps its leases until they expire.
    """

    def __init__(self, deps: Deps, *, capacity: int, interval_s: float = 2.0) -> None:
        super().__init__("imports", self._claim_all)
        self._deps = deps
        self._capacity = capacity
        self._interval_s = interval_s
        self._owner = str(uuid4())
        self._running: dict[str, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()

    @property
    def running(self) -> Mapping[str, "asyncio.Task[None]"]:
        """The imports that run here, by their id."""
        return self._running

    async def stop(self) -> None:
        """Stop all imports, so that others go on with them."""
        self._stopping.set()
        await super().stop()
        if self._running:
            await asyncio.wait(self._running.values(), timeout=DRAIN_S)

    async def _claim_all(self) -> float:
        while len(self._running) < self._capacity and not self._stopping.is_set():
            run = await self._deps.imports.claim(
                self._owner, lease_us=self._deps.lease_us, max_per_site=MAX_RUNNING_PER_SITE
            )
            if run is None:
                break
            task = asyncio.create_task(self._run_one(run), name=f"import {run.id}")
            self._running[run.id] = task
            task.add_done_callback(partial(self._forget, run.id))
        return self._interval_s

    async def _run_one(self, run: FileImport) -> None:
        try:
            await run_import(run, self._deps, stopping=self._stopping)
        except UnavailableError as error:
            _LOG.warning("import interrupted, it goes on later", importId=run.id, dependency=error.dependency)
        except Exception:  # noqa: BLE001 - one import must not end the others
            _LOG.exception("import interrupted, it goes on later", importId=run.id)

    def _forget(self, import_id: str, _ended: "asyncio.Task[None]") -> None:
        self._running.pop(import_id, None)
        if not self._stopping.is_set():
            self.wake()
