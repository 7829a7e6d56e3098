"""What pages of one client take does not harm others; tests/status/test_page_limits.py tests it on real pages."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from services.chassis.http import page_limits
from services.chassis.http.page_limits import PageLimits
from services.chassis.runtime.errors import Problem
from tests.chassis.eventually import until


async def test_a_client_has_one_page_rendered_at_a_time_and_all_clients_two() -> None:
    limits, rendered = PageLimits("the job status API"), list[str]()

    async def render(client_id: str) -> None:
        async with limits.rendering(client_id):
            rendered.append(client_id)
            await released.wait()

    released = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for client_id in ["noisy"] * 21 + ["good", "other"]:
            group.create_task(render(client_id))
        await until(lambda: len(rendered) == 2)
        assert rendered == ["noisy", "good"]
        released.set()
    assert len(rendered) == 23


async def test_too_many_waiting_requests_of_a_client_are_refused() -> None:
    limits = PageLimits("the job status API")
    async with AsyncExitStack() as places:
        await places.enter_async_context(limits.rendering("noisy"))
        waiting = [
            asyncio.create_task(limits.rendering("noisy").__aenter__())
            for _ in range(page_limits.MAX_WAITING_PER_CLIENT - 1)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Problem, match="429"):
            await places.enter_async_context(limits.rendering("noisy"))
        await places.enter_async_context(limits.rendering("good"))
        for task in waiting:
            task.cancel()


async def test_small_pages_wait_for_no_turn_but_count_when_unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = PageLimits("the job status API")
    async with AsyncExitStack() as places:
        for client_id in ("noisy", "other"):
            await places.enter_async_context(limits.rendering(client_id))
        async with limits.rendering("noisy", is_large=False):
            pass
        monkeypatch.setattr(page_limits, "MAX_UNSENT_BYTES_PER_CLIENT", 0)
        refused = page_limits.REFUSED.labels("unsent_of_client")._value
        before = refused.get()
        with pytest.raises(Problem, match="429"):
            await places.enter_async_context(limits.rendering("noisy", is_large=False))
        assert refused.get() == before + 1
