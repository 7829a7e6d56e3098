"""The brokers' clock, and whether the local clock agrees with it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from aiokafka.errors import IncompatibleBrokerVersion

from services.chassis.kafka.describe_quorum import (
    CLUSTER_AUTHORIZATION_FAILED,
    DescribeQuorumRequest,
    error_code,
    leader_time_s,
)
from services.chassis.kafka.producer import Producer
from services.chassis.runtime import metrics
from services.chassis.runtime.background import BackgroundTask
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import logger

OFFSET = metrics.gauge("clock_offset_seconds", "Local clock minus the brokers' clock; NaN while that is unknown.")
UNCHECKED = metrics.gauge(
    "clock_unchecked",
    "1 if the brokers do not report their time, so the local clock is used unchecked.",
)

INTERVAL_S = 10.0
# Until the first measurement, for which the service waits.
RETRY_S = 0.3
# Commands know the brokers' time to half of it: less than the tolerance of a revocation.
MAX_ROUND_TRIP_S = 1.0
# The first round trip includes connecting.
MEASUREMENTS = 5
_LOG = logger(__name__)


class BrokerClock(BackgroundTask):
    """Measures the brokers' clock periodically, and extrapolates it with the monotonic clock in between.

    A jump of the local clock therefore shows at once, and while the brokers are unavailable, too.
    """

    def __init__(
        self,
        producer: Producer,
        *,
        max_offset_s: float,
        interval_s: float = INTERVAL_S,
        clock_s: Callable[[], float] = time.time,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("broker clock", self._step, retry_s=RETRY_S)
        self._producer = producer
        self._interval_s = interval_s
        self._max_offset_s = max_offset_s
        self._clock_s = clock_s
        self._monotonic_s = monotonic_s
        # The brokers' clock minus the monotonic clock.
        self._epoch_s: float | None = None
        self._is_supported = True
        self._agreed = True
        OFFSET.set_function(lambda: float("nan") if self.offset_s is None else self.offset_s)

    @property
    def ready(self) -> bool:
        """Whether the local clock differs from the brokers' by at most the maximum; False until it is measured.

        Always True if the brokers do not report their time: they are older than Kafka 3.3, or deny DESCRIBE on the
        cluster.
        """
        return self.is_known and not self.is_wrong

    @property
    def is_wrong(self) -> bool:
        """Whether the local clock is known to differ from the brokers' by more than the maximum."""
        offset_s = self.offset_s
        return offset_s is not None and abs(offset_s) > self._max_offset_s

    @property
    def is_known(self) -> bool:
        """Whether the brokers' time is measured, or cannot be: then `now_us` remains the local time."""
        return self._epoch_s is not None or not self._is_supported

    @property
    def offset_s(self) -> float | None:
        """The local clock minus the brokers' clock, in seconds; None until it is measured."""
        return None if self._epoch_s is None else self._clock_s() - self._epoch_s - self._monotonic_s()

    def now_us(self) -> int:
        """Return the brokers' current time in microseconds since 1970; the local time until it is measured."""
        return int(self.now_s() * 1_000_000)

    def now_s(self) -> float:
        """Return the brokers' current time in seconds since 1970; the local time until it is measured."""
        return self._clock_s() if self._epoch_s is None else self._epoch_s + self._monotonic_s()

    def now(self) -> datetime:
        """Return the brokers' current time; the local time until it is measured."""
        return datetime.fromtimestamp(self.now_s(), UTC)

    async def measure(self) -> None:
        """Measure the brokers' clock now. Raises `UnavailableError`."""
        sent_at = self._monotonic_s()
        try:
            response = (await self._producer.request(DescribeQuorumRequest())).to_object()
        except (IncompatibleBrokerVersion, NotImplementedError):
            self._report_unsupported("they are older than Kafka 3.3")
            return
        received_at = self._monotonic_s()
        error = error_code(response)
        if error == CLUSTER_AUTHORIZATION_FAILED:
            self._report_unsupported("they deny the operation DESCRIBE on the cluster")
            return
        if error or received_at - sent_at > self._max_offset_s / 2:
            raise UnavailableError("Kafka")
        self._is_supported = True
        UNCHECKED.set(0)
        self._epoch_s = leader_time_s(response) - (sent_at + received_at) / 2
        self._report()

    async def _step(self) -> float:
        try:
            await self.measure()
        except UnavailableError:
            if self._epoch_s is None:
                raise
        return self._interval_s

    def _report(self) -> None:
        if self.ready != self._agreed:
            self._agreed = self.ready
            log = _LOG.info if self.ready else _LOG.error
            log("local clock agrees again" if self.ready else "local clock is wrong", offset_s=self.offset_s)

    def _report_unsupported(self, reason: str) -> None:
        if self._is_supported:
            _LOG.warning("the brokers do not report their time, so the local clock is not checked", reason=reason)
        self._is_supported = False
        UNCHECKED.set(1)


async def measure_broker_clock(producer: Producer) -> BrokerClock:
    """Return the brokers' clock for a command: the clock of the operator's machine may be wrong.

    Raises `UnavailableError`.
    """
    clock = BrokerClock(producer, max_offset_s=2 * MAX_ROUND_TRIP_S)
    for attempt in range(1, MEASUREMENTS + 1):
        try:
            await clock.measure()
            break
        except UnavailableError:
            if attempt == MEASUREMENTS:
                raise
    return clock
