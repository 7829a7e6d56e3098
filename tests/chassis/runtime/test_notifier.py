"""Requests that wait for a key are woken by its changes, and by nothing else."""

import pytest
from prometheus_client import Counter, Gauge

from services.chassis.runtime.notifier import Notifier

# Not declared: declared metrics are those that the services expose.
WAITING = Gauge("test_notifier_waiters", "Waiters of these tests.", registry=None)
REFUSED = Counter("test_notifier_refused_total", "Waits that these tests refuse.", registry=None)


@pytest.fixture
def notifier() -> Notifier[str]:
    return Notifier(max_waiters=2, waiting=WAITING, refused=REFUSED)


async def test_a_change_wakes_those_who_wait_for_its_key(notifier: Notifier[str]) -> None:
    async with notifier.register("a") as one, notifier.register("b") as other:
        assert one is not None
        assert other is not None
        notifier.notify(["a", "c"])
        assert await one.wait(10)
        assert not await other.wait(0.001)
        assert not await one.wait(0.001), "one change wakes once"
        notifier.notify_all()
        assert await one.wait(10)
        assert await other.wait(10)


async def test_more_than_may_wait_are_refused_and_places_become_free(notifier: Notifier[str]) -> None:
    refused = REFUSED._value.get()
    async with notifier.register("a"):
        async with notifier.register("a"):
            assert WAITING._value.get() == 2
            async with notifier.register("a") as third:
                assert third is None
        async with notifier.register("b") as again:
            assert again is not None
    assert REFUSED._value.get() == refused + 1
    assert not notifier.has_waiters


async def test_who_waits_when_the_process_stops_is_released_for_good(notifier: Notifier[str]) -> None:
    async with notifier.register("a") as waiter:
        assert waiter is not None
        await notifier.stop()
        assert not await waiter.wait(10)
        assert not await waiter.wait(10)
        assert waiter.is_closed
        async with notifier.register("a") as late:
            assert late is None


async def test_listeners_hear_of_every_key_though_nobody_waits(notifier: Notifier[str]) -> None:
    heard: list[str | None] = []
    notifier.listeners.append(heard.append)
    notifier.notify(["a", "b"])
    notifier.notify_all()
    assert heard == ["a", "b", None]


async def test_a_waiter_is_used_only_once_the_stream_is_open(notifier: Notifier[str]) -> None:
    opened: list[bool] = []

    async def open_stream() -> None:
        opened.append(notifier.has_waiters)

    notifier.on_waiter = open_stream
    async with notifier.register("a"):
        assert opened == [True]
