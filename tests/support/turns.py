"""Whether other tasks run while something is rendered."""

import asyncio
from collections.abc import AsyncIterator

import pytest


@pytest.fixture
async def turns() -> AsyncIterator[list[int]]:
    """How often another task has run."""
    counted = [0]

    async def count() -> None:
        while True:
            counted[0] += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(count())
    yield counted
    task.cancel()
