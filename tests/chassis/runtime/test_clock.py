import time

from services.chassis.runtime.clock import now_us


def test_the_time_is_in_microseconds() -> None:
    assert abs(now_us() / 1_000_000 - time.time()) < 60
