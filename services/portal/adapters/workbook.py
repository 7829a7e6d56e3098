"""Bounds of spreadsheets: their reader holds a sheet in memory, and a small archive can unpack to anything."""

import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from tillstream.sources.records import SourceError

# Of all parts, unpacked. About 250,000 rows of ten columns.
MAX_UNPACKED_BYTES = 128 << 20
# The older format is not compressed.
MAX_BINARY_BYTES = 64 << 20
_CHUNK = 1 << 20
_LOCAL_HEADER_BYTES = 30
_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def check_workbook(path: Path) -> None:
    """Raise `SourceError` for a spreadsheet that is too large to be read here; other files are of any size."""
    with path.open("rb") as file:
        head = file.read(len(_OLE))
    if head.startswith(_OLE) and path.stat().st_size > MAX_BINARY_BYTES:
        raise _too_large(path)
    if not head.startswith(_ZIP):
        return
    try:
        unpacked = 0
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            for part in archive.infolist():
                unpacked += max(part.file_size, _measure(file, part, MAX_UNPACKED_BYTES - unpacked))
                if unpacked > MAX_UNPACKED_BYTES:
                    raise _too_large(path)
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, NotImplementedError):
        message = f"{path} is not a readable spreadsheet; save it as XLSX or CSV, and unpack archives"
        raise SourceError(message) from None


def _measure(file: BinaryIO, part: zipfile.ZipInfo, limit: int) -> int:
    """Return how many bytes a part unpacks to, at most about `limit`: what the archive says of it may be wrong."""
    if part.compress_type == zipfile.ZIP_STORED:
        return part.compress_size
    if part.compress_type != zipfile.ZIP_DEFLATED:
        raise zipfile.BadZipFile("compressed in a way that spreadsheets do not use")
    file.seek(part.header_offset)
    header = file.read(_LOCAL_HEADER_BYTES)
    skipped = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    file.seek(part.header_offset + _LOCAL_HEADER_BYTES + skipped)
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    size, left = 0, part.compress_size
    pending = b""
    while size <= limit and not inflate.eof and (pending or left > 0):
        if not pending:
            pending = file.read(min(_CHUNK, left))
            if not pending:
                break
            left -= len(pending)
        size += len(inflate.decompress(pending, _CHUNK))
        pending = inflate.unconsumed_tail
    return size


def _too_large(path: Path) -> SourceError:
    return SourceError(
        f"{path} is too large for a spreadsheet that is read here (more than {MAX_UNPACKED_BYTES >> 20} MB of cells); "
        "save it as CSV, which may have any size up to the limit of files"
    )
