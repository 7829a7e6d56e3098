"""Counterparts of `_async/runtime.py`; written by hand."""

import time
from collections.abc import Generator
from threading import Lock

import httpx2

from tillstream.files import FileImport
from tillstream.importer import Progress

__all__ = ["Http", "Lock", "sleep", "steps"]

Http = httpx2.Client


def sleep(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)  # the blocking client waits as long as the server asks it to


def steps(file_import: FileImport) -> Generator[Progress, None, None]:
    """Yield the progress of an import."""
    try:
        yield from file_import.run()
    finally:
        file_import.close()
