"""Work that would hold up everybody else is done beside the event loop, one piece at a time."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Bodies of a usual request are far smaller and read within a few milliseconds; a thread would cost more than it saves.
OFFLOAD_THRESHOLD_BYTES = 256 * 1024

_THREAD = ThreadPoolExecutor(max_workers=1, thread_name_prefix="large-bodies")


async def run_in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of `work`, done in the one thread that there is for it."""
    return await asyncio.get_running_loop().run_in_executor(_THREAD, lambda: work(*args, **kwargs))
