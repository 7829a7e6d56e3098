"""Receives files piece by piece."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from msgspec.structs import replace

from services.portal.domain.upload import (
    MAX_PIECE_BYTES,
    RefusedUpload,
    Upload,
    WrongOffset,
    check_piece,
    check_size,
    clean_name,
)
from services.portal.ports import UploadStore

DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that receiving files may touch."""

    uploads: UploadStore
    now_us: Callable[[], int]
    new_id: Callable[[], str]
    quota_bytes: int
    days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who sends a file, and what it mends."""

    site: int
    client_id: str
    mends_job: str | None = None
    mends_import: str | None = None


async def begin(name: str, size: int, sender: Sender, deps: Deps) -> Upload | RefusedUpload:
    """Announce a file; its pieces follow."""
    refusal = check_size(size, used_bytes=0, quota_bytes=deps.quota_bytes)
    if refusal is not None:
        return refusal
    now_us = deps.now_us()
    upload = Upload(
        id=deps.new_id(),
        site=sender.site,
        client_id=sender.client_id,
        name=clean_name(name),
        size=size,
        created_us=now_us,
        expires_us=now_us + deps.days * DAY_US,
        mends_job=sender.mends_job,
        mends_import=sender.mends_import,
    )
    used_bytes = await deps.uploads.add(upload, quota_bytes=deps.quota_bytes)
    if used_bytes is None:
        return upload
    return check_size(size, used_bytes=used_bytes, quota_bytes=deps.quota_bytes) or RefusedUpload("try again")


async def append(upload: Upload, offset: int, piece: bytes, deps: Deps) -> Upload | RefusedUpload | WrongOffset:
    """Add a piece; the upload is complete with its last one."""
    received = await deps.uploads.received(upload.id)
    problem = check_piece(upload, offset=offset, length=len(piece), received=received)
    if problem is not None:
        return problem
    if not await deps.uploads.append(upload, offset, piece):
        return WrongOffset(await deps.uploads.received(upload.id))
    if offset + len(piece) < upload.size:
        return upload
    return await _complete(upload, upload.size, deps)


async def measure(upload: Upload, deps: Deps) -> tuple[Upload, int]:
    """Return how many bytes have been received; a process may have ended right before it marked the upload complete."""
    if upload.is_complete:
        return upload, upload.size
    received = await deps.uploads.received(upload.id)
    return (await _complete(upload, received, deps) if received == upload.size else upload), received


async def receive(
    name: str, chunks: AsyncIterator[bytes], sender: Sender, deps: Deps, *, announced: int
) -> Upload | RefusedUpload:
    """Receive a whole file of at most `announced` bytes in one request, keeping one piece of it in memory."""
    begun = await begin(name, announced, sender, deps)
    if isinstance(begun, RefusedUpload):
        return begun
    try:
        received = await _receive_all(begun, chunks, deps)
    except BaseException:
        # Nobody could continue it: the browser that sent it has no script.
        await deps.uploads.delete(sender.site, begun.id)
        raise
    if isinstance(received, int) and received > 0:
        return await _complete(begun, received, deps)
    await deps.uploads.delete(sender.site, begun.id)
    return received if isinstance(received, RefusedUpload) else RefusedUpload("the file is empty; choose another one")


async def _receive_all(upload: Upload, chunks: AsyncIterator[bytes], deps: Deps) -> int | RefusedUpload:
    offset, pending = 0, bytearray()
    async for chunk in chunks:
        pending += chunk
        while len(pending) >= MAX_PIECE_BYTES:
            piece = bytes(pending[:MAX_PIECE_BYTES])
            del pending[:MAX_PIECE_BYTES]
            if offset + len(piece) > upload.size:
                return RefusedUpload("the file is larger than its request said; choose it again")
            await deps.uploads.append(upload, offset, piece)
            offset += len(piece)
    if pending:
        await deps.uploads.append(upload, offset, bytes(pending))
        offset += len(pending)
    return offset


async def _complete(upload: Upload, size: int, deps: Deps) -> Upload:
    await deps.uploads.complete(upload, size=size)
    return replace(upload, is_complete=True, size=size)
