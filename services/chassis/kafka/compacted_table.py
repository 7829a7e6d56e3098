"""A compacted topic as a table in memory (Kafka Streams: GlobalKTable)."""

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from services.chassis.kafka import aiokafka_patches
from services.chassis.kafka.connection_options import connection_options
from services.chassis.runtime import metrics
from services.chassis.runtime.background import BackgroundTask
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import logger
from services.chassis.runtime.settings import KafkaSettings

RECORDS = metrics.counter("table_records_total", "Records read from a compacted topic.", ["topic"])
UNUSABLE = metrics.counter("table_unusable_records_total", "Skipped records of a compacted topic.", ["topic"])
STALENESS = metrics.gauge(
    "table_staleness_seconds",
    "Time since a table of a compacted topic was last known to be complete; +Inf until it has been.",
    ["topic"],
)
REQUEST_TIMEOUT_MS = 15_000
CLOSE_TIMEOUT_S = 2.0
RETRY_S = 0.3
CHECK_INTERVAL_S = 5.0
CHECK_TIMEOUT_S = 5.0
_LOG = logger(__name__)

Apply = Callable[[bytes, bytes | None], None]


class CompactedTable(BackgroundTask):
    """Passes every record of a compacted topic, old and new, to `apply(key, value)`; a value of None removes the key.

    `ready` turns True once everything is applied that was in the topic when reading began, and stays True while the
    brokers are unavailable; `staleness_s` tells for how long the table may lack changes. A record for which `apply`
    raises is counted and skipped.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        apply: Apply,
        *,
        client_id: str,
        check_interval_s: float = CHECK_INTERVAL_S,
    ) -> None:
        super().__init__(f"table {topic}", self._read, retry_after_defect_s=RETRY_S)
        self._settings = settings
        self._topic = topic
        self._apply = apply
        self._client_id = client_id
        self._check_interval_s = check_interval_s
        self._caught_up = asyncio.Event()
        self._complete_at = -math.inf
        self._kafka: AIOKafkaConsumer | None = None
        self._next_offsets: dict[TopicPartition, int] = {}
        self._newest_timestamp_ms = -1
        self._records = RECORDS.labels(topic)
        self._unusable = UNUSABLE.labels(topic)
        STALENESS.labels(topic).set_function(lambda: self.staleness_s)

    @property
    def ready(self) -> bool:
        """Whether the topic has been read up to the end that it had at first."""
        return self._caught_up.is_set()

    @property
    def staleness_s(self) -> float:
        """Time since the brokers last confirmed that the table has all records of the topic; infinite before."""
        return monotonic() - self._complete_at

    @property
    def newest_timestamp_ms(self) -> int | None:
        """Time of the newest record that was applied, in milliseconds since 1970; None before any."""
        return self._newest_timestamp_ms if self._newest_timestamp_ms >= 0 else None

    async def wait_ready(self, timeout_s: float) -> None:
        """Return when `ready`; raises `UnavailableError` if that takes longer."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._caught_up.wait()
        except TimeoutError as error:
            raise UnavailableError(f"topic {self._topic}") from error

    async def _read(self) -> float:
        try:
            await self._consume()
        except (KafkaError, OSError) as error:
            _LOG.warning("table restarting", topic=self._topic, error=type(error).__name__)
        return RETRY_S

    async def _consume(self) -> None:
        aiokafka_patches.install()
        kafka = AIOKafkaConsumer(
            **connection_options(self._settings),
            client_id=self._client_id,
            group_id=None,
            # The last offset may have been compacted away, or the topic recreated.
            auto_offset_reset="earliest",
            fetch_max_wait_ms=200,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        self._kafka = kafka
        try:
            await kafka.start()
            partitions = await self._partitions(kafka)
            kafka.assign(partitions)
            for partition in partitions:
                kafka.seek(partition, self._next_offsets.get(partition, 0))
            asked_at = monotonic()
            ends: dict[TopicPartition, int] | None = await kafka.end_offsets(partitions)
            while self._partitions_unchanged(kafka, partitions):
                self._apply_all(await kafka.getmany(timeout_ms=200, max_records=10_000))
                if ends is not None and await self._has_reached(kafka, ends):
                    self._complete_at, ends = asked_at, None
                    self._caught_up.set()
                if ends is None and monotonic() - asked_at >= self._check_interval_s:
                    asked_at = monotonic()
                    ends = await self._end_offsets(kafka, partitions)
        finally:
            self._kafka = None
            with suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await kafka.stop()

    @staticmethod
    async def _end_offsets(
        kafka: AIOKafkaConsumer, partitions: list[TopicPartition]
    ) -> dict[TopicPartition, int] | None:
        """Return the partitions' end offsets; None if the brokers do not answer in time."""
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                ends: dict[TopicPartition, int] = await kafka.end_offsets(partitions)
                return ends
        except (KafkaError, TimeoutError):
            return None

    async def _partitions(self, kafka: AIOKafkaConsumer) -> list[TopicPartition]:
        found: set[int] = set()
        while not found:
            # Waits a while for the topic to be created, then raises.
            found = await kafka._client._wait_on_metadata(self._topic)  # noqa: SLF001 - aiokafka offers it to producers only
        return [TopicPartition(self._topic, partition) for partition in sorted(found)]

    def _partitions_unchanged(self, kafka: AIOKafkaConsumer, partitions: list[TopicPartition]) -> bool:
        """Return False once the topic has more partitions than are read."""
        return len(kafka.partitions_for_topic(self._topic) or partitions) <= len(partitions)

    @staticmethod
    async def _has_reached(kafka: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
        for partition, end in ends.items():
            if await kafka.position(partition) < end:
                return False
        return True

    def _apply_all(self, poll: dict[TopicPartition, list[ConsumerRecord]]) -> None:
        for partition, records in poll.items():
            self._records.inc(len(records))
            for record in records:
                try:
                    self._apply(record.key or b"", record.value)
                except Exception as error:  # noqa: BLE001 - one record must not block the others
                    self._unusable.inc()
                    _LOG.error(
                        "record skipped",
                        topic=self._topic,
                        partition=record.partition,
                        offset=record.offset,
                        error=type(error).__name__,
                    )
            if records:
                self._next_offsets[partition] = records[-1].offset + 1
                newest = max(record.timestamp for record in records)
                self._newest_timestamp_ms = max(self._newest_timestamp_ms, newest)
