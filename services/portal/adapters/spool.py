"""Uploaded files on the local disk, where readers need them; nothing is lost with it.

A process has a directory of its own there, which it has locked; those of processes that are gone are deleted.
"""

import asyncio
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from services.portal.domain.upload import IncompleteFileError, Upload
from services.portal.ports import UploadStore

# Files that nobody reads are kept for the next page until they take more.
MAX_IDLE_BYTES = 2 << 30
_LOCK = "lock"


class LocalSpool:
    """The `Spool` in a directory."""

    def __init__(self, directory: Path, uploads: UploadStore, *, max_idle_bytes: int = MAX_IDLE_BYTES) -> None:
        self._base = directory
        self._uploads = uploads
        self._max_idle_bytes = max_idle_bytes
        self._readers: dict[str, int] = {}
        self._files: OrderedDict[str, tuple[Path, int]] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}
        self._own: Path | None = None
        self._lock: Any = None

    async def start(self) -> None:
        """Make the directory of this process, and delete those of others that are gone."""
        await asyncio.to_thread(self._open)

    async def stop(self) -> None:
        """Delete the directory of this process."""
        if self._own is not None:
            await asyncio.to_thread(shutil.rmtree, self._own, ignore_errors=True)
            self._lock.close()
            self._own = None

    @asynccontextmanager
    async def open(self, upload: Upload) -> AsyncIterator[Path]:
        """Yield the path of a complete upload.

        Raises `IncompleteFileError` if it is deleted meanwhile, and `UnavailableError`.
        """
        self._readers[upload.id] = self._readers.get(upload.id, 0) + 1
        try:
            async with self._locks.setdefault(upload.id, asyncio.Lock()):
                if upload.id not in self._files:
                    self._files[upload.id] = (await self._fetch(upload), upload.size)
            self._files.move_to_end(upload.id)
            yield self._files[upload.id][0]
        finally:
            self._readers[upload.id] -= 1
            await self._evict()

    async def digest(self, upload: Upload) -> str:
        """Return the SHA-256 of a complete upload, and store it; raises as `open` does."""
        if upload.sha256 is not None:
            return upload.sha256
        async with self.open(upload) as path:
            digest = await asyncio.to_thread(_digest, path)
        await self._uploads.set_digest(upload, digest)
        return digest

    async def _fetch(self, upload: Upload) -> Path:
        if self._own is None:
            raise RuntimeError("the spool is not started")
        directory = self._own / upload.id
        directory.mkdir(mode=0o700, exist_ok=True)
        # The name, too: it tells the format.
        path = directory / upload.name
        is_complete = False
        try:
            with path.open("wb") as file:
                async for piece in self._uploads.pieces(upload):
                    await asyncio.to_thread(file.write, piece)
                is_complete = file.tell() == upload.size
        finally:
            if not is_complete:
                shutil.rmtree(directory, ignore_errors=True)
        if not is_complete:
            raise IncompleteFileError(f"file {upload.id} is not complete")
        return path

    async def _evict(self) -> None:
        """Delete files that nobody reads, the longest unused first, as far as they take too much."""
        idle = [key for key in self._files if not self._readers.get(key)]
        size = sum(self._files[key][1] for key in idle)
        for key in idle:
            if size <= self._max_idle_bytes:
                return
            path, bytes_ = self._files.pop(key)
            size -= bytes_
            self._readers.pop(key, None)
            self._locks.pop(key, None)
            shutil.rmtree(path.parent, ignore_errors=True)

    def _open(self) -> None:
        self._base.mkdir(mode=0o700, parents=True, exist_ok=True)
        for other in self._base.iterdir():
            if other.is_dir() and not _is_locked(other):
                shutil.rmtree(other, ignore_errors=True)
        own = Path(tempfile.mkdtemp(prefix="portal-", dir=self._base))
        self._lock = (own / _LOCK).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._own = own


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        # Pages in the cache of the system need not stay there: the file may be larger than its memory.
        with suppress(OSError, AttributeError):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_locked(directory: Path) -> bool:
    try:
        with (directory / _LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
