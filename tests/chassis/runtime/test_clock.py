import time

from services.chassis.runtime.clock import now_us
from services.chassis.runtime.currencies import load_currencies


def test_the_time_is_in_microseconds() -> None:
    assert abs(now_us() / 1_000_000 - time.time()) < 60


def test_currencies_are_codes_in_upper_case() -> None:
    currencies = load_currencies()
    assert {"USD", "EUR", "JPY"} <= currencies
    assert all(len(code) == 3 and code.isupper() for code in currencies)
