"""When a delivery that failed is tried again."""

from collections.abc import Callable, Sequence

from msgspec import Struct

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
MAX_RETRY_AFTER_US = 24 * HOUR_US
JITTER = 0.2


class RetrySchedule(Struct, frozen=True, kw_only=True):
    """Pauses between the tries of a delivery; each varies by `jitter`, so that retries do not come together."""

    pauses_us: Sequence[int] = (
        5 * SECOND_US,
        1 * MINUTE_US,
        5 * MINUTE_US,
        30 * MINUTE_US,
        2 * HOUR_US,
        5 * HOUR_US,
        10 * HOUR_US,
        14 * HOUR_US,
        20 * HOUR_US,
        24 * HOUR_US,
    )
    jitter: float = JITTER

    def next_try_us(
        self, attempts: int, *, now_us: int, retry_after_us: int = 0, random: Callable[[], float]
    ) -> int | None:
        """When the try after `attempts` failed ones is due, never before the receiver's `Retry-After`; None: never.

        `random` returns a number from 0 to 1.
        """
        if attempts > len(self.pauses_us):
            return None
        pause_us = int(self.pauses_us[attempts - 1] * (1 + self.jitter * (2 * random() - 1)))
        return now_us + max(pause_us, min(retry_after_us, MAX_RETRY_AFTER_US))
