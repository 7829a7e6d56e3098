"""Begins checks and imports of uploaded files, and what their owners do with them."""

from collections.abc import Callable
from dataclasses import dataclass

from services.portal.domain.file_import import FileImport, Purpose, ReadOptions, State, Wish, import_id
from services.portal.domain.upload import Upload
from services.portal.ports import CredentialStore, FileOpener, ImportStore
from tillstream.http import Credentials

DAY_US = 86_400_000_000
KEPT_DAYS = 30
MAX_GENERATIONS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that beginning an import may touch. `wake` tells the workers of this process."""

    imports: ImportStore
    credentials: CredentialStore
    spool: FileOpener
    now_us: Callable[[], int]
    wake: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Begun:
    """The import; `is_new` is False if it is one that was begun before."""

    run: FileImport
    is_new: bool


async def start(
    upload: Upload, options: ReadOptions, purpose: Purpose, credentials: Credentials, deps: Deps, *, again: bool = False
) -> Begun:
    """Begin a check or an import of a file.

    An import of the same file, read in the same way, is not begun a second time: it goes on if it was cancelled or has
    failed, so that nothing is imported twice. Only after its end it can be imported `again`. A check can always be made
    again.
    """
    digest = await deps.spool.digest(upload)
    if purpose is Purpose.CHECK:
        return await _start_check(upload, options, digest, credentials, deps)
    for generation in range(MAX_GENERATIONS):
        id_ = import_id(upload.site, digest, options, purpose, generation=generation)
        run = _build(id_, upload, options, purpose, deps.now_us())
        # Before the import: a worker may take it at once.
        if await deps.imports.find(upload.site, id_) is None:
            await deps.credentials.put(run, credentials, expires_us=upload.expires_us)
            if await deps.imports.add(run):
                deps.wake()
                return Begun(run, is_new=True)
        known = await deps.imports.find(upload.site, id_)
        if known is None or (known.state.is_final and again):
            continue
        if known.state in {State.CANCELLED, State.FAILED}:
            await deps.credentials.put(run, credentials, expires_us=upload.expires_us)
            await deps.imports.reopen(run)
            deps.wake()
        return Begun(await deps.imports.find(upload.site, id_) or known, is_new=False)
    raise RuntimeError(f"the file {upload.id} was imported {MAX_GENERATIONS} times")


async def _start_check(
    upload: Upload, options: ReadOptions, digest: str, credentials: Credentials, deps: Deps
) -> Begun:
    """Begin a check, unless the same one is under way."""
    for known in await deps.imports.of_upload(upload.site, upload.id):
        if known.purpose is Purpose.CHECK and known.options == options and not known.state.is_final:
            return Begun(known, is_new=False)
    now_us = deps.now_us()
    id_ = import_id(upload.site, digest, options, Purpose.CHECK, generation=now_us)
    run = _build(id_, upload, options, Purpose.CHECK, now_us)
    await deps.credentials.put(run, credentials, expires_us=upload.expires_us)
    is_new = await deps.imports.add(run)
    deps.wake()
    return Begun(run, is_new=is_new)


def _build(id_: str, upload: Upload, options: ReadOptions, purpose: Purpose, now_us: int) -> FileImport:
    return FileImport(
        id=id_,
        site=upload.site,
        client_id=upload.client_id,
        upload=upload.id,
        file_name=upload.name,
        purpose=purpose,
        options=options,
        created_us=now_us,
        expires_us=now_us + KEPT_DAYS * DAY_US,
        mends_job=upload.mends_job,
        mends_import=upload.mends_import,
    )


async def control(
    site: int, id_: str, wish: Wish, credentials: Credentials, deps: Deps, *, file_expires_us: int | None = None
) -> FileImport | None:
    """Pause, resume or cancel an import; one that is resumed goes on with these credentials."""
    run = await deps.imports.find(site, id_)
    if run is None:
        return None
    if wish is Wish.RUN and run.can_resume:
        await deps.credentials.put(run, credentials, expires_us=file_expires_us or run.expires_us)
    changed = await deps.imports.wish(site, id_, wish)
    if changed is not None and changed.state.is_final:
        await deps.credentials.delete(changed)
    deps.wake()
    return changed
