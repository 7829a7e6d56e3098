"""Uploaded files: how they are received piece by piece, and how much a site may keep."""

import re
import unicodedata

from msgspec import Struct

from services.portal.domain.file_import import ReadOptions

MAX_FILE_BYTES = 1 << 30
# A piece is kept in memory, and in one document.
MAX_PIECE_BYTES = 4 << 20
MAX_NAME_CHARACTERS = 120
_NOT_IN_NAMES = re.compile(r"[^\w .()+,-]+")


class Upload(Struct, frozen=True):
    """A file of a site, complete or not. `size` is what was announced; a complete file has exactly that.

    `mends_job` is the job whose failed records the file holds, mended; `mends_import` the import of a file. `sha256` is
    known once the file was read, `options` once its owner has said how.
    """

    id: str
    site: int
    client_id: str
    name: str
    size: int
    created_us: int
    expires_us: int
    is_complete: bool = False
    mends_job: str | None = None
    mends_import: str | None = None
    options: ReadOptions | None = None
    sha256: str | None = None


class IncompleteFileError(Exception):
    """The file has expired, or was deleted, while it was read."""


class RefusedUpload(Struct, frozen=True):
    """Why a file is not taken, for its owner."""

    reason: str


class WrongOffset(Struct, frozen=True):
    """A piece does not continue the file; the next one begins at `offset`."""

    offset: int


def check_size(size: int, *, used_bytes: int, quota_bytes: int) -> RefusedUpload | None:
    """Return why a file of this size is not taken beside those that the site has, if so."""
    if size <= 0:
        return RefusedUpload("the file is empty; choose another one")
    if size > MAX_FILE_BYTES:
        return RefusedUpload(f"the file has {describe_bytes(size)}; at most {describe_bytes(MAX_FILE_BYTES)} is taken")
    if used_bytes + size > quota_bytes:
        return RefusedUpload(
            f"your files already take {describe_bytes(used_bytes)} of {describe_bytes(quota_bytes)}; delete one that "
            "is no longer needed, then try again"
        )
    return None


def check_piece(upload: Upload, *, offset: int, length: int, received: int) -> WrongOffset | RefusedUpload | None:
    """Return why a piece is not taken, if so."""
    if offset != received or upload.is_complete:
        return WrongOffset(received)
    if length > MAX_PIECE_BYTES:
        return RefusedUpload(f"a piece has at most {MAX_PIECE_BYTES} bytes")
    if not length:
        return RefusedUpload("a piece has at least one byte")
    if received + length > upload.size:
        return RefusedUpload(f"the file was announced with {upload.size} bytes, and has more; choose it again")
    return None


def clean_name(name: str) -> str:
    """Return a file name without directories and without characters that a file system could misread."""
    base = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    cleaned = _NOT_IN_NAMES.sub("_", base).strip(" .")
    stem, dot, suffix = cleaned.rpartition(".")
    if len(cleaned) > MAX_NAME_CHARACTERS and dot and len(suffix) < 10:
        return stem[: MAX_NAME_CHARACTERS - len(suffix) - 1] + dot + suffix
    return cleaned[:MAX_NAME_CHARACTERS] or "file"


def describe_bytes(count: int) -> str:
    """Return a size as people read it."""
    for unit, size in (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f}".removesuffix(".0") + f" {unit}"
    return "1 byte" if count == 1 else f"{count} bytes"
