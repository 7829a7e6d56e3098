"""What differs between the clients beyond the keywords; `_sync/runtime.py` has the counterparts."""

import asyncio
from asyncio import Lock as AsyncLock

import httpx2

__all__ = ["AsyncHttp", "AsyncLock", "async_sleep"]

AsyncHttp = httpx2.AsyncClient


async def async_sleep(seconds: float) -> None:
    """Wait."""
    await asyncio.sleep(seconds)
