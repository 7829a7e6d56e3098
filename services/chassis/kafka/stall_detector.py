"""Detects a consumer that runs and makes no progress."""

from collections.abc import Callable, Iterable

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaTimeoutError

STALL_TIMEOUT_S = 60.0


class StallDetector:
    """Remembers when the loop last ran, last made progress, and last was assigned partitions.

    Waiting for Kafka, or for a dependency of the handler, counts as progress: a restart would not help.
    """

    def __init__(self, clock: Callable[[], float], *, session_timeout_s: float) -> None:
        self._clock = clock
        # A rebalance may take as long as a session and brings no records meanwhile.
        self.timeout_s = max(STALL_TIMEOUT_S, session_timeout_s + 30)
        self.last_loop_at = self._last_progress_at = self._last_assignment_at = clock()

    @property
    def is_stalled(self) -> bool:
        """Whether the loop has hung, or made no progress, for the timeout."""
        return self._clock() - min(self.last_loop_at, self._last_progress_at) >= self.timeout_s

    def loop(self) -> None:
        """Note that the loop runs."""
        self.last_loop_at = self._clock()

    def progress(self) -> None:
        """Note that something was processed, or that there is nothing to process."""
        self._last_progress_at = self._clock()

    def assigned(self) -> None:
        """Note that partitions were assigned, or are about to be."""
        self._last_assignment_at = self._clock()

    def check(self, kafka: AIOKafkaConsumer, topics: Iterable[str]) -> None:
        """Raise `KafkaTimeoutError` if the member should rejoin: after half the timeout without progress."""
        # A member that has just been assigned partitions gets the full time: otherwise one restart would trigger the
        # next.
        if self._clock() - max(self._last_progress_at, self._last_assignment_at) < self.timeout_s / 2:
            return
        if not kafka.assignment():
            # Having no partitions is no reason to restart the process.
            self.progress()
            if any(map(kafka.partitions_for_topic, topics)):
                # There are more members than partitions; rejoining would only interrupt the whole group.
                return
        raise KafkaTimeoutError("no records were read although some are available")
