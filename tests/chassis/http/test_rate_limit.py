"""The rate limit: never more than so much in any second, and an honest word on when to come back."""

import time
from dataclasses import dataclass
from inspect import signature

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.http.rate_limit import Decision, RateLimit, rate_limited
from services.chassis.http.shared_rate_limit import SharedRateLimit

TICK = 1 / 1024  # adds up exactly


@dataclass
class Clock:
    """A monotonic clock that stands still until told otherwise."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


def decide(gate: RateLimit, *, limit: int, cost: int) -> Decision:
    """Spend `cost` units; 0 is a look."""
    return gate.acquire("608", limit=limit, cost=cost) if cost else gate.peek("608", limit=limit)


@pytest.mark.parametrize(
    ("steps", "allowed"),
    [
        pytest.param([(0, 100), (0, 1)], [True, False], id="all at once, then nothing"),
        pytest.param([(0, 60), (0, 60), (0, 40)], [True, False, True], id="what is refused costs nothing"),
        pytest.param([(0, 101)], [False], id="more than the limit never passes"),
        pytest.param([(0, 100), (0.9, 1), (0.1, 100)], [True, False, True], id="a second later all is free"),
        pytest.param([(0, 50), (0.5, 50), (0.5, 50), (0.4, 1), (0.1, 50)], [True, True, True, False, True], id="moves"),
        pytest.param([(0, 99), (0.5, 1), (0.49, 99), (0.01, 99)], [True, True, False, True], id="no burst at an edge"),
        pytest.param([(0, 100), (0, 0)], [True, False], id="asking is refused when nothing is left"),
        pytest.param([(0, 99), (0, 0), (0, 0), (0, 1)], [True, True, True, True], id="asking costs nothing"),
        pytest.param([(0, 100), (3_600, 100)], [True, True], id="long silence"),
    ],
)
def test_the_window_moves(steps: list[tuple[float, int]], allowed: list[bool]) -> None:
    clock = Clock()
    gate = RateLimit(clock=clock)
    told = []
    for later, cost in steps:
        clock.now += round(later / TICK) * TICK
        told.append(decide(gate, limit=100, cost=cost).allowed)
    assert told == allowed


def test_keys_do_not_share_a_window() -> None:
    gate = RateLimit(clock=Clock())
    assert gate.acquire("608", limit=1).allowed
    assert not gate.acquire("608", limit=1).allowed
    assert gate.acquire("609", limit=1).allowed


def test_what_is_given_back_can_be_spent_again() -> None:
    clock = Clock()
    gate = RateLimit(clock=clock)
    assert [gate.acquire("a", limit=2).allowed for _ in range(3)] == [True, True, False]
    gate.give_back("a")
    gate.give_back("b")
    assert [gate.acquire("a", limit=2).allowed for _ in range(2)] == [True, False]
    assert [gate.acquire("b", limit=1).allowed for _ in range(2)] == [True, False], "nothing was spent of it"
    clock.now += 1
    gate.give_back("a")
    assert [gate.acquire("a", limit=2).allowed for _ in range(3)] == [True, True, False]


def test_a_decision_says_what_is_left() -> None:
    clock = Clock()
    gate = RateLimit(clock=clock)
    first = gate.acquire("608", limit=100, cost=30)
    assert (first.limit, first.remaining, first.retry_after_s, first.reset_s) == (100, 70, 0, 1)
    assert gate.peek("608", limit=100).remaining == 70
    clock.now += 1
    idle = gate.peek("608", limit=100)
    assert (idle.remaining, idle.reset_s) == (100, 0)


def test_a_limit_may_change_while_it_is_used() -> None:
    gate = RateLimit(clock=Clock())
    assert gate.acquire("608", limit=100, cost=50).allowed
    lowered = gate.acquire("608", limit=10)
    assert (lowered.allowed, lowered.remaining) == (False, 0)
    assert gate.acquire("608", limit=200, cost=150).allowed


@pytest.mark.parametrize(
    ("window_s", "spent", "cost", "retry_after_s"),
    [
        (1.0, [(0, 100)], 1, 1),
        (1.0, [(0, 100)], 101, 1),
        (10.0, [(0, 40), (3, 40), (3, 20)], 40, 4),
        (10.0, [(0, 40), (3, 40), (3, 20)], 41, 7),
        (10.0, [(0, 40), (3, 40), (3, 20)], 100, 10),
        (10.0, [(0, 40), (3, 40), (3, 20)], 101, 10),
        (10.0, [(0, 40), (3, 60)], 0, 7),
    ],
)
def test_retry_after_is_when_it_can_be_paid(
    window_s: float, spent: list[tuple[float, int]], cost: int, retry_after_s: int
) -> None:
    clock = Clock()
    gate = RateLimit(window_s=window_s, clock=clock)
    for later, paid in spent:
        clock.now += later
        assert gate.acquire("608", limit=100, cost=paid).allowed
    refused = decide(gate, limit=100, cost=cost)
    assert (refused.allowed, refused.retry_after_s) == (False, retry_after_s)


requests = st.lists(st.tuples(st.integers(0, 700), st.integers(0, 12)), max_size=60)


@given(requests)
def test_no_window_ever_holds_more_than_the_limit(steps: list[tuple[int, int]]) -> None:
    clock, passed = Clock(), list[tuple[float, int]]()
    gate = RateLimit(clock=clock)
    for ticks, cost in steps:
        clock.now += ticks * TICK
        if decide(gate, limit=10, cost=cost).allowed:
            passed.append((clock.now, cost))
    for end, _ in passed:
        assert sum(cost for at, cost in passed if end - 1 < at <= end) <= 10


@given(requests)
def test_nothing_is_refused_that_fits(steps: list[tuple[int, int]]) -> None:
    clock, passed = Clock(), list[tuple[float, int]]()
    gate = RateLimit(clock=clock)
    for ticks, cost in steps:
        clock.now += ticks * TICK
        used = sum(paid for at, paid in passed if clock.now - 1 < at)
        decision = decide(gate, limit=10, cost=cost)
        assert decision.allowed == (used + max(cost, 1) <= 10)
        if decision.allowed:
            passed.append((clock.now, cost))
        assert decision.remaining == 10 - used - (cost if decision.allowed else 0)


@given(requests, st.integers(1, 10))
def test_who_comes_back_after_retry_after_gets_through(steps: list[tuple[int, int]], cost: int) -> None:
    clock = Clock()
    gate = RateLimit(clock=clock)
    for ticks, paid in steps:
        clock.now += ticks * TICK
        decide(gate, limit=10, cost=paid)
    decision = decide(gate, limit=10, cost=cost)
    if not decision.allowed:
        assert decision.retry_after_s >= 1
        clock.now += decision.retry_after_s
        assert decide(gate, limit=10, cost=cost).allowed


def test_idle_keys_are_forgotten() -> None:
    clock = Clock()
    gate = RateLimit(clock=clock, max_keys=100)
    for number in range(100):
        gate.acquire(str(number), limit=1)
    clock.now += 1
    gate.acquire("new", limit=1)
    assert len(gate._windows) == 1


def test_keys_are_bounded_even_when_all_are_busy() -> None:
    gate = RateLimit(clock=Clock(), max_keys=100)
    for number in range(1_000):
        assert gate.acquire(str(number), limit=1).allowed
    assert len(gate._windows) <= 100


def test_refused_requests_take_no_memory() -> None:
    gate = RateLimit(clock=Clock())
    for _ in range(1_000):
        gate.acquire("608", limit=10)
    assert len(gate._windows["608"].costs) == 10


def test_a_look_spends_nothing_and_decides_as_for_one_unit() -> None:
    gate = RateLimit(clock=Clock())
    assert gate.acquire("608", limit=3, cost=2).allowed
    assert [(gate.peek("608", limit=3).allowed, gate.peek("608", limit=3).remaining) for _ in range(3)] == [
        (True, 1)
    ] * 3
    assert gate.acquire("608", limit=3).allowed
    assert not gate.peek("608", limit=3).allowed


def test_a_429_says_when_to_come_back_and_what_the_limit_is() -> None:
    gate = RateLimit(clock=Clock())
    gate.acquire("608", limit=2, cost=2)
    refusal = gate.acquire("608", limit=2)
    problem = rate_limited(refusal, "at most 2", policy="orders")
    assert (problem.status, problem.code, problem.detail) == (429, "RATE_LIMITED", "at most 2")
    assert problem.headers == {
        "Retry-After": "1",
        "RateLimit-Policy": '"orders";q=2;w=1',
        "RateLimit": '"orders";r=0;t=1',
    }
    assert rate_limited(refusal, "at most 2").headers == {"Retry-After": "1"}


@pytest.mark.parametrize("limiter", [RateLimit, SharedRateLimit])
def test_the_clock_is_monotonic_unless_a_test_brings_its_own(limiter: type) -> None:
    """F20: a wall clock that goes back would lock clients out, one that jumps ahead would double their limits."""
    assert signature(limiter).parameters["clock"].default is time.monotonic
