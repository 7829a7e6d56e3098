"""What differs between the clients beyond the keywords; `_sync/runtime.py` has the counterparts."""

import asyncio
from asyncio import Lock as AsyncLock
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2

from tillstream.files import FileImport
from tillstream.importer import Progress

__all__ = ["AsyncHttp", "AsyncLock", "async_sleep", "async_steps"]

AsyncHttp = httpx2.AsyncClient


async def async_sleep(seconds: float) -> None:
    """Wait."""
    await asyncio.sleep(seconds)


async def async_steps(file_import: FileImport) -> AsyncGenerator[Progress, None]:
    """Yield the progress of an import, which runs in a thread of its own."""

    def following(steps: Iterator[Progress]) -> Progress | None:
        return next(steps, None)

    loop = asyncio.get_running_loop()
    # One thread: SQLite's connections belong to the thread that made them.
    executor = ThreadPoolExecutor(1)
    steps = file_import.run()

    def end() -> None:
        # Requests in flight are waited for, and what comes of them is stored, while connections are open.
        try:
            steps.close()
        finally:
            file_import.close()

    try:
        while (progress := await loop.run_in_executor(executor, following, steps)) is not None:
            yield progress
    finally:
        file_import.stop()
        try:
            await loop.run_in_executor(executor, end)
        finally:
            executor.shutdown(wait=False)
