"""Runs long computations in a thread, one at a time, so that they do not block the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Usual bodies are far smaller and parsed within a few milliseconds; a thread would cost more than it saves.
OFFLOAD_THRESHOLD_BYTES = 256 * 1024

_EXECUTOR = ThreadPoolExecutor(max_workers=1, thread_name_prefix="large-bodies")


async def run_in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call the function in the one thread that all large bodies share, and return its result."""
    return await asyncio.get_running_loop().run_in_executor(_EXECUTOR, lambda: function(*args, **kwargs))
