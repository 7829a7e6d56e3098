"""Checks and imports uploaded files: what a worker does with one that it has leased."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from services.chassis.runtime.logs import logger
from services.portal.domain.file_import import (
    Ended,
    EndReason,
    FileImport,
    ImportProgress,
    Purpose,
    State,
    Wish,
    share_of,
)
from services.portal.domain.mending import JobLink
from services.portal.domain.upload import IncompleteFileError, Upload
from services.portal.ports import (
    BatchLog,
    CredentialStore,
    FileOpener,
    ImportStore,
    LinkStore,
    Runner,
    Transfer,
    UploadStore,
)
from tillstream.http import Credentials

MICROS = 1_000_000
MAX_GROUPS = 50
# After services were away for longer than requests are repeated.
RETRY_AFTER_US = 10 * MICROS
_LOG = logger(__name__)
SIGN_IN_AGAIN = "the credentials that it was started with are no longer accepted; press Resume to go on with yours"
EXPIRED = "the file has expired; upload it again, what was imported is not imported again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that a worker may touch. `on_progress` is called with what is stored of an import's progress."""

    imports: ImportStore
    uploads: UploadStore
    log: BatchLog
    credentials: CredentialStore
    links: LinkStore
    spool: FileOpener
    runner: Runner
    now_us: Callable[[], int]
    on_progress: Callable[[FileImport], None] = lambda _run: None
    lease_us: int = 15 * MICROS
    heartbeat_s: float = 1.0


async def run_import(run: FileImport, deps: Deps, *, stopping: asyncio.Event) -> None:
    """Check or import a file until it has ended, its owner wishes otherwise, or this process stops.

    Raises `UnavailableError`: the lease then expires, and any worker goes on.
    """
    if run.wish is not Wish.RUN:
        await _settle(run, State.WAITING, deps)
        return
    upload = await deps.uploads.find(run.site, run.upload)
    credentials = await deps.credentials.get(run)
    if upload is None:
        await _settle(run, State.FAILED, deps, problem=EXPIRED)
        return
    if credentials is None:
        await _settle(replace(run, needs_sign_in=True), State.PAUSED, deps, problem=SIGN_IN_AGAIN)
        return
    try:
        await _transfer(run, upload, credentials, deps, stopping)
    except IncompleteFileError:
        await _settle(run, State.FAILED, deps, problem=EXPIRED)


async def _transfer(
    run: FileImport, upload: Upload, credentials: Credentials, deps: Deps, stopping: asyncio.Event
) -> None:
    async with deps.spool.open(upload) as path:
        transfer = deps.runner.start(
            run,
            path,
            credentials,
            share=share_of(await deps.imports.count_running(run.site)),
            on_job=_job_linker(run, deps),
        )
        try:
            run = await _attend(run, transfer, deps, stopping)
        finally:
            # The thread reads the file: it must not outlive it.
            transfer.stop()
            ended = await asyncio.shield(transfer.ended)
    await _conclude(_with_progress(run, transfer.progress), ended, deps)


async def _attend(run: FileImport, transfer: Transfer, deps: Deps, stopping: asyncio.Event) -> FileImport:
    """Keep the lease, store the progress, and stop the import when it is time."""
    while not transfer.ended.done():
        stored = await deps.imports.heartbeat(_with_progress(run, transfer.progress), lease_us=deps.lease_us)
        if stored is None or stored.wish is not Wish.RUN or stopping.is_set():
            transfer.stop()
        if stored is not None:
            run = stored
            deps.on_progress(run)
            transfer.set_share(share_of(await deps.imports.count_running(run.site)))
        await asyncio.wait([transfer.ended], timeout=deps.heartbeat_s)
    return run


async def _conclude(run: FileImport, ended: Ended, deps: Deps) -> None:
    """Store how an import has ended, or why it waits."""
    match ended.reason:
        case EndReason.LOST:
            _LOG.info("another worker goes on", importId=run.id)
        case EndReason.DONE:
            await _settle(run, State.DONE, deps)
        case EndReason.FAILED:
            await _settle(run, State.FAILED, deps, problem=ended.problem)
        case EndReason.NOT_ALLOWED:
            paused = replace(run, needs_sign_in=True)
            await _settle(paused, State.PAUSED, deps, problem=f"{ended.problem}; {SIGN_IN_AGAIN}")
        case EndReason.STOPPED if ended.problem is None:
            await _settle(run, State.WAITING, deps)
        case _:
            waiting = replace(run, not_before_us=deps.now_us() + RETRY_AFTER_US)
            await _settle(waiting, State.WAITING, deps, problem=ended.problem)


async def _settle(run: FileImport, state: State, deps: Deps, *, problem: str | None = None) -> None:
    groups = await deps.log.fault_groups(run.id, limit=MAX_GROUPS)
    settled = replace(run, state=state, problem=problem, groups=groups)
    await deps.imports.settle(settled)
    stored = await deps.imports.find(run.site, run.id)
    if stored is not None and stored.state.is_final:
        await deps.credentials.delete(run)
    deps.on_progress(stored or settled)


def _with_progress(run: FileImport, progress: ImportProgress) -> FileImport:
    return replace(
        run,
        total=progress.total,
        counts=progress.counts,
        records_per_s=progress.records_per_s,
        left_s=progress.left_s,
        problem=progress.waits_for,
    )


def _job_linker(run: FileImport, deps: Deps) -> Callable[[str], Coroutine[Any, Any, None]] | None:
    """Return what links each job of an import to the one that its file mends, if it mends one."""
    mended = run.mends_job
    if mended is None or run.purpose is Purpose.CHECK:
        return None

    async def link(job: str) -> None:
        await deps.links.add(run.site, JobLink(job=job, mends=mended, created_us=deps.now_us()))

    return link
