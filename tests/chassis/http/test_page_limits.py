"""What pages of one client take does not harm others; tests/status/test_page_limits.py tests it on real pages."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from math import inf
from time import get_clock_info, monotonic

import pytest

from services.chassis.http import page_limits
from services.chassis.http.page_limits import ACTIVE_S, PageLimits
from services.chassis.http.recent_clients import RecentClients
from services.chassis.runtime.errors import Problem
from tests.chassis.eventually import until

# The event loop calls what is due within this time.
CLOCK_RESOLUTION_S = get_clock_info("monotonic").resolution


def recent_clients(*clients: str, clock_s: Callable[[], float] = lambda: inf) -> RecentClients:
    """Clients that have sent requests in this order; unless a clock is given, they never cease to be active."""
    recent = RecentClients(clock_s=clock_s)
    for client_id in clients:
        recent.record(client_id)
    return recent


async def test_a_client_has_one_page_rendered_at_a_time_and_all_clients_two() -> None:
    limits, rendered = PageLimits("the job status API", recent_clients("noisy", "good")), list[str]()

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


async def test_after_a_page_its_client_waits_as_long_as_it_took_and_others_do_not() -> None:
    """Breaks: one client asks for large pages without a pause. It has half of the event loop's time at most."""
    now_s, pauses = 0.0, list[tuple[float, Callable[[], object]]]()
    limits = PageLimits(
        "the job status API",
        recent_clients("noisy", "good"),
        clock_s=lambda: now_s,
        call_later=lambda *pause: pauses.append(pause),
    )

    async def render(client_id: str) -> None:
        nonlocal now_s
        async with limits.rendering(client_id):
            now_s += 0.25

    await render("noisy")
    waiting = asyncio.create_task(render("noisy"))
    await render("good")
    assert [pause_s for pause_s, _ in pauses] == [0.25, 0.25]
    assert not waiting.done()
    pauses[0][1]()
    await waiting
    assert len(pauses) == 3


async def test_a_small_page_is_followed_by_no_pause_a_failed_one_is_and_no_pause_is_long() -> None:
    pauses = list[float]()
    times_s = iter([0.0, 0.0001, 1.0, 1.25, 2.0, 2.25, 3.0, 9.0])
    limits = PageLimits(
        "the job status API",
        recent_clients("good"),
        clock_s=times_s.__next__,
        call_later=lambda pause_s, _resume: pauses.append(pause_s),
    )
    async with limits.turn("noisy"):
        pass
    with pytest.raises(LookupError):
        async with limits.rendering("noisy"):
            raise LookupError
    async with limits.rendering("small") as rendering:
        rendering.set_size(page_limits.LARGE_BYTES)
    async with limits.rendering("slow"):
        pass
    assert pauses == [0.25, page_limits.MAX_PAUSE_S]


@pytest.mark.parametrize(
    ("clients", "took_s", "is_followed_by_pause"),
    [
        ([], 0.25, False),
        ([("noisy", 9.9), ("noisy", 10.0), ("noisy", 10.1)], 0.25, False),
        ([("good", 10.1), ("noisy", 10.2)], 0.25, True),
        ([("good", 10.25 - ACTIVE_S), ("noisy", 10.0)], 0.25, True),
        ([("good", 10.24 - ACTIVE_S), ("noisy", 10.0)], 0.25, False),
        ([("noisy", 9.9), ("good", 10.0)], 4.0, True),
        ([("good", 9.9), ("noisy", 10.0)], 4.0, False),
    ],
)
async def test_a_client_that_is_alone_does_not_wait_for_itself(
    clients: list[tuple[str, float]], took_s: float, *, is_followed_by_pause: bool
) -> None:
    """Breaks: a client that reads page after page reads at half the speed although nobody else wants anything.

    Others count that sent a request during the rendering, which began at 10 s, or in the last second of it.
    """
    recent = RecentClients(clock_s=iter([at_s for _, at_s in clients]).__next__)
    for client_id, _ in clients:
        recent.record(client_id)
    times_s, pauses = iter([10.0, 10.0 + took_s]), list[float]()
    limits = PageLimits(
        "the job status API",
        recent,
        clock_s=times_s.__next__,
        call_later=lambda pause_s, _resume: pauses.append(pause_s),
    )
    async with limits.rendering("noisy"):
        pass
    assert bool(pauses) == is_followed_by_pause


async def test_a_client_is_not_forgotten_while_its_next_page_must_wait() -> None:
    """Turns are forgotten when nobody has one; a new one would be free."""
    times_s = iter([0.0, 0.02, 1.0, 1.0])
    limits = PageLimits("the job status API", recent_clients("good"), clock_s=times_s.__next__)
    began = monotonic()
    async with limits.turn("noisy"):
        pass
    async with limits.turn("noisy"):
        assert monotonic() - began >= 0.02 - CLOCK_RESOLUTION_S


async def test_too_many_waiting_requests_of_a_client_are_refused() -> None:
    limits = PageLimits("the job status API", recent_clients("noisy", "good"))
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
    limits = PageLimits("the job status API", recent_clients("noisy", "good"))
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
