"""The end of what runs in the background."""

import asyncio

AGAIN_S = 0.5


async def cancel_and_wait(task: "asyncio.Task[None]") -> None:
    """Cancel the task until it has ended; raises what it ended with, if that is something else.

    To cancel it once may not do: `asyncio.wait_for` of Python 3.11 swallows a cancellation that comes together with
    the result, and PyMongo sends everything through it.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=AGAIN_S)
    if not task.cancelled():
        task.result()
