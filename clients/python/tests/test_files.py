"""The import of a file from a program: it ends when its caller does, in the thread that it runs in."""

import asyncio
import os
import threading
import time
from collections.abc import Generator
from contextlib import aclosing
from pathlib import Path
from typing import cast

import pytest

from tillstream import files
from tillstream._async.runtime import async_steps
from tillstream.cli.import_file import delete_old
from tillstream.cli.spool import spooled
from tillstream.errors import UnreachableError
from tillstream.files import FileImport, FileOptions
from tillstream.http import Credentials, RetryPolicy
from tillstream.importer import ImportOptions, Progress, StoppedError
from tillstream.manifest import ManifestError, Tally


class Recorded:
    """Stands for `FileImport`: notes what happens in which thread."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, int]] = []

    def note(self, name: str) -> None:
        self.noted.append((name, threading.get_ident()))

    def run(self) -> Generator[Progress, None, None]:
        try:
            while True:
                self.note("step")
                yield Progress(1, Tally(0, 0, 0, 0), 0, None, 0)
        finally:
            self.note("ended")

    def stop(self) -> None:
        self.note("stop")

    def close(self) -> None:
        self.note("close")


async def test_an_import_that_is_left_early_ends_before_its_connections_do() -> None:
    """Breaks if a `break` closes the manifest under requests in flight, or waits for these in the event loop."""
    recorded = Recorded()
    async with aclosing(async_steps(cast("FileImport", recorded))) as steps:
        async for _ in steps:
            break
    assert [name for name, _ in recorded.noted] == ["step", "stop", "ended", "close"]
    threads = dict(recorded.noted)
    assert threads["ended"] == threads["close"] == threads["step"] != threading.get_ident()


class Slow:
    """A file that takes long to check."""

    def __init__(self) -> None:
        self.checking, self.checked = threading.Event(), threading.Event()

    def count(self) -> int:
        self.checking.set()
        assert self.checked.wait(10)
        return 1


def an_import(path: Path) -> FileImport:
    return FileImport(
        "http://127.0.0.1:9",
        Credentials("c", "s", "k"),
        RetryPolicy(max_wait_s=0),
        path=path,
        files=FileOptions(manifest=path.with_suffix(".sqlite")),
        options=ImportOptions(),
    )


async def test_an_import_that_is_cancelled_while_its_file_is_checked_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow()
    monkeypatch.setattr(files, "open_source", lambda *_: slow)
    stopped = an_import(tmp_path / "sales.csv")
    ended = asyncio.create_task(asyncio.to_thread(lambda: list(stopped.run())))
    assert await asyncio.to_thread(slow.checking.wait, 10)
    stopped.stop()
    slow.checked.set()
    with pytest.raises(StoppedError):
        await ended
    assert not (tmp_path / "sales.sqlite").exists()


def test_a_manifest_belongs_to_one_file_and_its_options(tmp_path: Path) -> None:
    """Breaks if another file goes on where the first was: its first records would never be sent."""
    path = tmp_path / "sales.csv"

    def run() -> None:
        started = an_import(path)
        try:
            list(started.run())
        finally:
            started.close()

    header = "id,userId,dateTime,productId,quantity,unitPrice\n"
    path.write_text(header + "1,u,2024-05-01T10:00:00Z,4556,1,1\n")
    for _ in range(2):
        with pytest.raises(UnreachableError):
            run()
    path.write_text(header + "2,u,2024-05-01T10:00:00Z,4556,1,1\n")
    with pytest.raises(ManifestError, match="another file"):
        run()


def test_each_run_has_a_file_of_its_own_for_its_pipe(tmp_path: Path) -> None:
    """Breaks if a run deletes what another one still reads, or leaves anything behind."""
    pipe, directory = tmp_path / "pipe", tmp_path / "spool"
    pipe.write_text("sales")
    with spooled(pipe, directory) as first:
        left = directory / "left by a run that was killed"
        left.write_text("sales")
        with spooled(pipe, directory) as second:
            assert first != second
            assert set(directory.iterdir()) == {first, second}
            assert second.read_text() == first.read_text() == "sales"
            assert second.stat().st_mode & 0o777 == 0o600
        assert list(directory.iterdir()) == [first]
    with pytest.raises(KeyboardInterrupt), spooled(pipe, directory):
        raise KeyboardInterrupt
    assert list(directory.iterdir()) == []


def test_an_import_is_forgotten_only_when_nothing_was_done_about_it_for_long(tmp_path: Path) -> None:
    """Breaks if a resumed import is deleted whose last steps are in the file beside the database."""
    long_ago = time.time() - 91 * 86_400
    for name in ("old", "resumed"):
        for suffix in ("", "-wal"):
            file = tmp_path / f"{name}.sqlite{suffix}"
            file.write_bytes(b"")
            os.utime(file, (long_ago, long_ago))
    os.utime(tmp_path / "resumed.sqlite-wal")
    delete_old(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["resumed.sqlite", "resumed.sqlite-wal"]
