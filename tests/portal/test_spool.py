"""Uploaded files on the local disk: fetched once, kept while they are read, never left behind."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.portal.adapters.spool import LocalSpool
from services.portal.domain.upload import IncompleteFileError, Upload
from tests.portal.mongo_fixtures import an_upload


class Pieces:
    """An `UploadStore`, as far as a spool needs it."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.reads = 0
        self.digests: dict[str, str] = {}

    async def pieces(self, upload: Upload) -> AsyncIterator[bytes]:
        self.reads += 1
        content = self.content[upload.id]
        for start in range(0, len(content), 4):
            await asyncio.sleep(0)
            yield content[start : start + 4]

    async def set_digest(self, upload: Upload, sha256: str) -> None:
        self.digests[upload.id] = sha256

    def add(self, content: bytes, *, size: int | None = None) -> Upload:
        upload = an_upload(size=len(content) if size is None else size)
        self.content[upload.id] = content
        return upload


@pytest.fixture
def pieces() -> Pieces:
    return Pieces()


@pytest.fixture
async def spool(tmp_path: Path, pieces: Pieces) -> AsyncIterator[LocalSpool]:
    spool = LocalSpool(tmp_path, pieces, max_idle_bytes=20)  # type: ignore[arg-type]
    await spool.start()
    yield spool
    await spool.stop()
    assert [names for _, names, _ in os.walk(tmp_path) if names] == []


async def test_readers_at_once_share_one_copy(spool: LocalSpool, pieces: Pieces) -> None:
    upload = pieces.add(b"0123456789")

    async def read() -> bytes:
        async with spool.open(upload) as path:
            assert path.name == "sales.csv"
            assert path.parent.stat().st_mode & 0o077 == 0
            return path.read_bytes()

    assert await asyncio.gather(*(read() for _ in range(5))) == [b"0123456789"] * 5
    assert await read() == b"0123456789"
    assert pieces.reads == 1


async def test_files_that_nobody_reads_are_deleted_when_they_take_too_much(spool: LocalSpool, pieces: Pieces) -> None:
    uploads = [pieces.add(b"0123456789") for _ in range(4)]
    async with spool.open(uploads[0]) as read:
        paths = []
        for upload in uploads[1:]:
            async with spool.open(upload) as path:
                paths.append(path)
        assert read.exists()
        assert [path.exists() for path in paths] == [False, True, True]


async def test_a_file_that_is_deleted_while_it_is_fetched_is_not_read(
    spool: LocalSpool, pieces: Pieces, tmp_path: Path
) -> None:
    upload = pieces.add(b"012345", size=10)
    with pytest.raises(IncompleteFileError):
        async with spool.open(upload):
            pass
    assert not [files for _, _, files in os.walk(tmp_path) if "sales.csv" in files]
    pieces.content[upload.id] = b"0123456789"
    async with spool.open(upload) as path:
        assert path.read_bytes() == b"0123456789"


async def test_the_digest_is_computed_once(spool: LocalSpool, pieces: Pieces) -> None:
    upload = pieces.add(b"abc")
    digest = await spool.digest(upload)
    assert digest.startswith("ba7816bf")
    assert pieces.digests == {upload.id: digest}
    assert await spool.digest(an_upload(id=upload.id, sha256=digest)) == digest
    assert pieces.reads == 1


async def test_what_a_dead_process_has_left_is_deleted_and_that_of_a_living_one_is_not(
    spool: LocalSpool, pieces: Pieces, tmp_path: Path
) -> None:
    (tmp_path / "portal-dead" / "u").mkdir(parents=True)
    (tmp_path / "portal-dead" / "lock").touch()
    upload = pieces.add(b"abc")
    async with spool.open(upload) as path:
        other = LocalSpool(tmp_path, pieces)  # type: ignore[arg-type]
        await other.start()
        assert path.exists()
        assert not (tmp_path / "portal-dead").exists()
        await other.stop()
