"""F29, the shared limit: several processes and one bucket, one process killed, the store away."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from time import monotonic

import pytest
from limits.aio.strategies import MovingWindowRateLimiter

from services.chassis.http.rate_limit import RateLimit
from services.chassis.http.shared_rate_limit import FALLBACK_S, STORE_ERRORS, STORE_UNAVAILABLE, SharedRateLimit
from tests.chassis.eventually import until
from tests.support.valkey import Valkey

CLIENT_SCRIPT = """
import asyncio, sys
from services.chassis.http.rate_limit import RateLimit
from services.chassis.http.shared_rate_limit import SharedRateLimit

async def ask() -> None:
    gate = SharedRateLimit(RateLimit(), url=sys.argv[1])
    await gate.acquire("warm", limit=1)
    print("ready", flush=True)
    sys.stdin.readline()
    allowed = 0
    for _ in range(60):
        allowed += (await gate.acquire("608", limit=100, cost=2)).allowed
    print(allowed, flush=True)
    await asyncio.sleep(60)  # until it is killed

asyncio.run(ask())
"""


class Clock:
    """Stands still until told otherwise."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def rate_limits(valkey: Valkey) -> AsyncIterator[list[SharedRateLimit]]:
    made = [SharedRateLimit(RateLimit(), url=valkey.url) for _ in range(2)]
    yield made
    for gate in made:
        await gate.stop()


async def test_two_processes_share_a_bucket(rate_limits: list[SharedRateLimit]) -> None:
    one, other = rate_limits
    assert (await one.acquire("a", limit=100, cost=60)).remaining == 40
    refused = await other.acquire("a", limit=100, cost=41)
    assert (refused.allowed, refused.remaining, refused.retry_after_s) == (False, 40, 1)
    assert (await other.acquire("a", limit=100, cost=40)).allowed
    for gate in rate_limits:
        left = await gate.peek("a", limit=100)
        assert (left.allowed, left.remaining, left.reset_s) == (False, 0, 1)


async def test_asking_costs_nothing_and_keys_are_apart(rate_limits: list[SharedRateLimit]) -> None:
    one, other = rate_limits
    assert (await one.peek("b", limit=5)).remaining == 5
    assert (await one.acquire("b", limit=5, cost=5)).allowed
    assert (await other.acquire("c", limit=5, cost=5)).allowed
    assert not (await other.acquire("b", limit=5, cost=1)).allowed
    assert not (await other.acquire("never", limit=5, cost=6)).allowed


async def test_a_second_later_all_is_free(rate_limits: list[SharedRateLimit]) -> None:
    one, other = rate_limits
    began = monotonic()
    assert (await one.acquire("d", limit=3, cost=3)).allowed

    async def free() -> bool:
        return (await other.acquire("d", limit=3, cost=3)).allowed

    await until(free)
    assert monotonic() - began >= 0.99


async def test_no_window_holds_more_than_the_limit(rate_limits: list[SharedRateLimit]) -> None:
    passed: list[float] = []
    end = monotonic() + 2.5

    async def ask(gate: SharedRateLimit) -> None:
        while monotonic() < end:
            before = monotonic()
            if (await gate.acquire("e", limit=20)).allowed:
                passed.append(before)
            await asyncio.sleep(0.005)

    await asyncio.gather(*(ask(gate) for gate in rate_limits))
    assert len(passed) >= 40
    # Told apart by when they were asked for: a few milliseconds lie between that and the store's word.
    late = 0.1
    assert all(sum(at <= other < at + 1 - late for other in passed) <= 20 for at in passed)


def test_one_of_two_processes_is_killed(valkey: Valkey) -> None:
    """What the killed one has spent stays spent; the other goes on."""
    arguments = [sys.executable, "-c", CLIENT_SCRIPT, valkey.url]
    asking = [subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        allowed = 0
        for process in asking:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        began = monotonic()
        for process in asking:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            allowed += int(process.stdout.readline())
            process.kill()
        windows = int(monotonic() - began) + 1
        assert 50 <= allowed <= 50 * windows
    finally:
        for process in asking:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_without_the_store_each_process_limits_for_itself(valkey: Valkey, how: str) -> None:
    clock = Clock()
    rate_limits = [SharedRateLimit(RateLimit(clock=clock), url=valkey.url, clock=clock) for _ in range(2)]
    assert [(await gate.acquire(how, limit=10, cost=4)).allowed for gate in rate_limits] == [True, True]
    errors = STORE_ERRORS._value.get()
    if how == "killed":
        valkey.kill()
    else:
        valkey.suspend()
    began = monotonic()
    try:
        for gate in rate_limits:
            # What it spent before counts, what others spent does not.
            assert (await gate.acquire(how, limit=10, cost=6)).allowed
            assert not (await gate.acquire(how, limit=10, cost=1)).allowed
        assert monotonic() - began < 2, "the wait is bounded"
        assert STORE_UNAVAILABLE._value.get() == 1
        assert STORE_ERRORS._value.get() == errors + 2
        asked = monotonic()
        clock.now += 0.1
        for _ in range(100):
            await rate_limits[0].acquire("other", limit=1_000)
        assert monotonic() - asked < 0.2, "it is left alone for a while"
    finally:
        if how == "killed":
            valkey.start()
        else:
            valkey.resume()
    clock.now += FALLBACK_S
    assert (await rate_limits[0].acquire(how + " later", limit=10, cost=6)).allowed
    assert STORE_UNAVAILABLE._value.get() == 0
    assert not (await rate_limits[1].acquire(how + " later", limit=10, cost=6)).allowed, "together again"
    for gate in rate_limits:
        await gate.stop()


async def test_whatever_the_stores_client_raises_refuses_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it does when a connection is closed while it is being made: that is no error of the store's in its words."""

    async def closed(*_: object, **__: object) -> bool:
        raise RuntimeError("the handler is closed")

    monkeypatch.setattr(MovingWindowRateLimiter, "hit", closed)
    gate = SharedRateLimit(RateLimit(clock=Clock()), url="valkey://127.0.0.1:1", clock=Clock())
    assert (await gate.acquire("a", limit=10, cost=10)).allowed
    assert not (await gate.acquire("a", limit=10, cost=1)).allowed
    assert STORE_UNAVAILABLE._value.get() == 1
    await gate.stop()


async def test_without_a_store_it_is_the_processs_own_limit() -> None:
    gate = SharedRateLimit(RateLimit(clock=Clock()), url=None)
    await gate.start()
    assert (await gate.acquire("a", limit=10, cost=10)).allowed
    assert not (await gate.peek("a", limit=10)).allowed
    await gate.stop()
