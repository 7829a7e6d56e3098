"""Counterparts of `_async/runtime.py`; written by hand."""

import time
from threading import Lock

import httpx2

__all__ = ["Http", "Lock", "sleep"]

Http = httpx2.Client


def sleep(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)
