"""The pace: against a server that counts in a moving window, at any time between request and response."""

import random
from collections import deque
from collections.abc import Callable

import pytest

from tillstream.pace import Pace


class MovingWindow:
    """What the server counts; fails the test instead of refusing."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.counted: deque[tuple[float, int]] = deque()

    def receive(self, at: float) -> None:
        """Refuse a request before its body is read if nothing is left."""
        while self.counted and self.counted[0][0] <= at - 1:
            self.counted.popleft()
        assert sum(one for _, one in self.counted) < self.limit, f"refused on arrival at {at}"

    def count(self, at: float, cost: int) -> None:
        self.receive(at)
        assert sum(one for _, one in self.counted) + cost <= self.limit, f"refused at {at}"
        self.counted.append((at, cost))


def steady_rate(cost: int, before_s: Callable[[], float], after_s: Callable[[], float], *, told: bool) -> float:
    """Return the rate over three minutes, all responses awaited; `told` if the server says when it counted."""
    now, sent = 0.0, 0
    pace, server = Pace(100, clock=lambda: now), MovingWindow(100)
    while now < 180:
        pause = pace.wait_s(cost)
        now += pause
        assert pause < 2
        request = pace.start(cost)
        before, after = before_s(), after_s()
        server.receive(now)
        server.count(now + before, cost)
        now += before + after
        told_ms = max(round(1000 * after - 0.05, 1), 0)
        pace.finish(request, {"server-timing": f"counted;dur={told_ms}"} if told else {})
        sent += cost
    return sent / now


@pytest.mark.parametrize("cost", [1, 7, 50, 100])
def test_nothing_is_refused_though_the_server_does_not_say_when_it_counts(cost: int) -> None:
    chance = random.Random(1)  # noqa: S311 - no secret
    rate = steady_rate(cost, lambda: chance.uniform(0, 0.005), lambda: chance.uniform(0.001, 0.005), told=False)
    assert rate >= (97 if cost > 1 else 90), "latency alone may cost some of it"


@pytest.mark.parametrize("seed", range(10))
def test_the_limit_is_used_however_long_responses_take(seed: int) -> None:
    """Records are counted after 5 to 8 ms, now and then much later; the responses come up to 80 ms after that."""
    chance = random.Random(seed)  # noqa: S311 - no secret

    def before() -> float:
        return 0.005 + chance.expovariate(1 / 0.002) + (0.05 if chance.random() < 0.01 else 0)

    assert steady_rate(100, before, lambda: chance.uniform(0.01, 0.08), told=True) >= 98.5


def test_requests_in_flight_are_counted() -> None:
    now = 0.0
    pace = Pace(100, clock=lambda: now)
    first = pace.start(60)
    assert pace.wait_s(40) == 0
    assert pace.wait_s(41) == float("inf")
    pace.finish(first)
    assert pace.wait_s(41) == 1
    now = 0.5
    assert pace.wait_s(41) == 0.5


def test_a_share_leaves_the_rest_to_others() -> None:
    pace = Pace(100, share=0.5, clock=lambda: 0.0)
    assert pace.budget == 50
    pace.start(50)
    assert pace.wait_s(1) > 0
    assert Pace(1, share=0.01).budget == 1


def test_what_others_use_is_waited_for() -> None:
    """The server says that less is left than this client has used."""
    now = 0.0
    pace = Pace(100, clock=lambda: now)
    sent = pace.start(10)
    pace.finish(sent, {"ratelimit": '"records";r=5;t=1'})
    assert pace.wait_s(10) == 1
    now = 1.0
    assert pace.wait_s(10) == 0
    own = pace.start(100)
    pace.finish(own, {"ratelimit": '"records";r=0;t=1'})
    now = 2.0
    assert pace.wait_s(100) == 0, "its own use is counted already"


def test_a_share_is_kept_while_others_use_theirs() -> None:
    """Two clients with half of the limit: that nothing is left is as it should be."""
    now = 0.0
    pace = Pace(100, share=0.5, clock=lambda: now)
    first = pace.start(50)
    now = 0.3
    pace.finish(first, {"ratelimit": '"records";r=0;t=1', "server-timing": "counted;dur=300.0"})
    now = 1.0
    assert pace.wait_s(50) == 0
    second = pace.start(25)
    pace.finish(second, {"ratelimit": '"records";r=0;t=1'})
    assert pace.wait_s(25) == 1, "others have used 75"


def test_own_requests_that_leave_the_window_meanwhile_are_not_taken_for_others() -> None:
    """Counted before a response came that was a second old by then."""
    now = 0.0
    pace = Pace(100, clock=lambda: now)
    pace.finish(pace.start(50))
    now = 0.9
    second = pace.start(50)
    now = 1.1
    pace.finish(second, {"ratelimit": '"records";r=0;t=1', "server-timing": "counted;dur=150.0"})
    assert pace.wait_s(50) == 0


@pytest.mark.parametrize("cost", [10, 50, 80])
def test_a_smaller_share_holds_for_requests_that_were_packed_for_a_larger_one(cost: int) -> None:
    """Breaks if two imports of one site that share a limit together use all of it."""
    now, sent = 0.0, 0
    pace = Pace(100, share=0.8, clock=lambda: now)
    pace.set_share(0.25)
    while now < 60:
        now += pace.wait_s(cost)
        request = pace.start(cost)
        now += 0.005
        pace.finish(request)
        sent += cost
    assert 19 <= (sent - cost) / now <= 25
