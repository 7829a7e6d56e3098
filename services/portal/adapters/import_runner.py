"""Checks and imports files with the client library's importer, in threads."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import logger
from services.portal.adapters.batch_log import MongoBatchLog, PlaceTakenError
from services.portal.adapters.file_reader import describe, read_source
from services.portal.adapters.import_state import MongoImportState
from services.portal.domain.file_import import (
    Counts,
    Ended,
    EndReason,
    FileImport,
    ImportProgress,
    Purpose,
)
from tillstream import ApiError, Client, NotAllowedError, RetryPolicy, TillstreamError
from tillstream.http import Credentials
from tillstream.importer import Importer, ImportOptions, Progress, StoppedError, is_resumable
from tillstream.models import Kind, Mode
from tillstream.sources.records import SourceError

# A request is repeated for so long; then the import waits, and any worker goes on. A process that stops waits for it.
RETRY = RetryPolicy(max_wait_s=15.0, timeout_s=15.0)
DEFECT = "this is a fault of the system, not of your file; please report the time"
_LOG = logger(__name__)


class ThreadImportRunner:
    """Runs each import in a thread of its own."""

    def __init__(self, log: MongoBatchLog, *, connect: Callable[[Credentials], Client]) -> None:
        """`connect` makes a client, with connections of its own."""
        self._log = log
        self._connect = connect

    def start(
        self,
        run: FileImport,
        path: Path,
        credentials: Credentials,
        *,
        share: float,
        on_job: Callable[[str], Coroutine[Any, Any, None]] | None,
    ) -> "RunningImport":
        """Begin or go on with an import; it runs until it ends or is stopped."""
        state = MongoImportState(run, self._log, asyncio.get_running_loop(), on_job=on_job)
        return RunningImport(run, path, state, lambda: self._connect(credentials), share=share)


def connect_to(base_url: str) -> Callable[[Credentials], Client]:
    """Return what makes clients of an installation."""

    def connect(who: Credentials) -> Client:
        return Client(base_url, who.client_id, who.client_secret, who.api_key, retry=RETRY)

    return connect


class RunningImport:
    """An import that runs in a thread. `ended` is done when it has ended, and never raises."""

    def __init__(
        self,
        run: FileImport,
        path: Path,
        state: MongoImportState,
        connect: Callable[[], Client],
        *,
        share: float,
    ) -> None:
        self._run = run
        self._path = path
        self._state = state
        self._connect = connect
        self._share = share
        self._importer: Importer | None = None
        self._is_stopped = False
        self.progress = ImportProgress(run.total, run.counts)
        # Not the loop's own executor: it has few threads, and others need them.
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"import {run.id[:8]}")
        self.ended: asyncio.Future[Ended] = asyncio.get_running_loop().run_in_executor(self._executor, self._work)
        self._executor.shutdown(wait=False)

    def stop(self) -> None:
        """Send nothing more; may be called at any time."""
        self._is_stopped = True
        if self._importer is not None:
            self._importer.stop()

    def set_share(self, share: float) -> None:
        """Use another part of the site's limit."""
        self._share = share
        if self._importer is not None:
            self._importer.set_share(share)

    def _work(self) -> Ended:
        try:
            self._import()
        except Exception as error:  # noqa: BLE001 - what has ended an import is told to its owner
            return self._describe_end(error)
        return Ended(EndReason.DONE)

    def _describe_end(self, error: Exception) -> Ended:
        match error:
            case StoppedError():
                ended = Ended(EndReason.STOPPED, None if self._is_stopped else str(error))
            case PlaceTakenError():
                ended = Ended(EndReason.LOST)
            case SourceError():
                ended = Ended(EndReason.FAILED, describe(error, self._path))
            case NotAllowedError():
                ended = Ended(EndReason.NOT_ALLOWED, error.detail)
            case ApiError() if not is_resumable(error):
                ended = Ended(EndReason.FAILED, str(error))
            case TillstreamError() | UnavailableError():
                ended = Ended(EndReason.UNAVAILABLE, str(error))
            case _:
                # Repeated, it would fail again.
                _LOG.error("import failed", importId=self._run.id, exc_info=error)
                ended = Ended(EndReason.FAILED, DEFECT)
        return ended

    def _import(self) -> None:
        options = self._run.options
        source = read_source(self._path, options, is_mended=self._run.mends_job is not None)
        total = self.progress.total
        if total is None:
            total = source.count()
            self.progress = ImportProgress(total, self._run.counts)
        with self._connect() as client:
            is_check = self._run.purpose is Purpose.CHECK
            self._importer = Importer(
                client,
                source,
                self._state,
                ImportOptions(
                    kind=cast("Kind", options.kind),
                    mode=cast("Mode | None", options.mode),
                    share=self._share,
                    dry_run=is_check,
                ),
            )
            # What was said between the beginning and now.
            self._importer.set_share(self._share)
            if self._is_stopped:
                self._importer.stop()
            for progress in self._importer.run(total):
                self.progress = _progress(progress)


def _progress(progress: Progress) -> ImportProgress:
    tally = progress.tally
    counts = Counts(sent=tally.sent, succeeded=tally.succeeded, failed=tally.failed, unsent=tally.unsent)
    waits_for = None if progress.waits_for is None else str(progress.waits_for)
    return ImportProgress(progress.total, counts, progress.records_per_s, progress.left_s, waits_for)
