"""The import of a file from a program: it ends when its caller does, in the thread that it runs in."""

import asyncio
import threading
from collections.abc import Generator
from contextlib import aclosing
from pathlib import Path
from typing import cast

import pytest

from tillstream import files
from tillstream._async.runtime import async_steps
from tillstream.files import FileImport, FileOptions
from tillstream.http import Credentials, RetryPolicy
from tillstream.importer import ImportOptions, Progress, StoppedError
from tillstream.manifest import Tally


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
