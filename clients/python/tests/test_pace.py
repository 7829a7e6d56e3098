"""The pace: against a server that counts in a moving window, at any time between request and response."""

import random
from collections import deque

import pytest

from tillstream.pace import Pace


class MovingWindow:
    """What the server counts; fails the test instead of refusing."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.counted: deque[tuple[float, int]] = deque()

    def count(self, at: float, cost: int) -> None:
        while self.counted and self.counted[0][0] <= at - 1:
            self.counted.popleft()
        assert sum(one for _, one in self.counted) + cost <= self.limit, f"refused at {at}"
        self.counted.append((at, cost))


@pytest.mark.parametrize("cost", [1, 7, 50, 100])
def test_nothing_is_refused_and_the_limit_is_used(cost: int) -> None:
    """Whatever the latency is, and whenever the server counts."""
    now = 0.0
    pace = Pace(100, clock=lambda: now)
    server = MovingWindow(100)
    chance = random.Random(1)  # noqa: S311 - no secret
    sent = 0
    while now < 60:
        pause = pace.wait_s(cost)
        now += pause
        assert pause < 2
        request = pace.start(cost)
        latency = chance.uniform(0.001, 0.01)
        server.count(now + chance.uniform(0, latency), cost)
        now += latency
        pace.finish(request)
        sent += cost
    assert sent / now >= (97 if cost > 1 else 90), "latency alone may cost some of it"


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
