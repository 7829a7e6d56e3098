"""Half-open circuit: an endpoint that keeps failing is asked once in a while, by one request."""

from services.webhooks.domain.retry import SECOND_US

FAILURES_TO_OPEN = 5
MIN_PAUSE_US, MAX_PAUSE_US = 5 * SECOND_US, 300 * SECOND_US


class Circuit:
    """Counts consecutive failures. Open for a while after the last of `FAILURES_TO_OPEN`, then half-open."""

    def __init__(
        self, *, failures: int = 0, min_pause_us: int = MIN_PAUSE_US, max_pause_us: int = MAX_PAUSE_US
    ) -> None:
        self.failures = failures
        self._min_pause_us = min_pause_us
        self._max_pause_us = max_pause_us
        # After a restart, an endpoint that was failing is asked once.
        self.open_until_us = 0
        self._openings = 0
        self._paused_until_us = 0

    @property
    def is_closed(self) -> bool:
        """Whether requests are not restricted by failures."""
        return self.failures < FAILURES_TO_OPEN

    def room(self, *, in_flight: int, max_in_flight: int, now_us: int) -> int:
        """How many requests may be sent now."""
        if now_us < max(self.open_until_us, self._paused_until_us):
            return 0
        return (max_in_flight if self.is_closed else 1) - in_flight

    @property
    def opens_at_us(self) -> int:
        """When requests may be sent again, if not now."""
        return max(self.open_until_us, self._paused_until_us)

    def succeeded(self) -> None:
        """Close the circuit."""
        self.failures = self._openings = self.open_until_us = 0

    def failed(self, now_us: int) -> None:
        """Count a failure; from the fifth in a row on, pause, for longer each time."""
        self.failures += 1
        # Requests that were in flight when the circuit opened do not open it again.
        if not self.is_closed and now_us >= self.open_until_us:
            self.open_until_us = now_us + min(self._min_pause_us * 2 ** min(self._openings, 16), self._max_pause_us)
            self._openings += 1

    def pause(self, until_us: int) -> None:
        """Send nothing before that time: the receiver asked for it."""
        self._paused_until_us = max(self._paused_until_us, until_us)
