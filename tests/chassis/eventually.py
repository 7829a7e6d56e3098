"""Waiting for a condition inside the event loop, never for a time."""

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable


async def until(condition: Callable[[], bool | Awaitable[bool]], *, deadline_s: float = 15.0) -> None:
    """Return once the condition holds; raises `TimeoutError` when it does not in time."""
    async with asyncio.timeout(deadline_s):
        while True:
            answer = condition()
            if await answer if isawaitable(answer) else answer:
                return
            await asyncio.sleep(0.005)
