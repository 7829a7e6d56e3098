"""A compacted topic, held in memory by whoever needs it."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from services.chassis.kafka.aiokafka_patches import install
from services.chassis.kafka.producer import connection_options
from services.chassis.runtime import metrics
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import logger
from services.chassis.runtime.settings import KafkaSettings

RECORDS = metrics.counter("table_records_total", "Records read from a compacted topic.", ["topic"])
UNUSABLE = metrics.counter(
    "table_unusable_records_total", "Records of a compacted topic that were passed over.", ["topic"]
)
REQUEST_TIMEOUT_MS = 15_000
CLOSE_TIMEOUT_S = 2.0
RETRY_S = 0.3
_LOG = logger(__name__)

Apply = Callable[[bytes, bytes | None], None]


class CompactedTable:
    """Feeds every record of a compacted topic, old and new, to `apply(key, value)`; a value of None removes the key.

    `ready` turns True once everything is applied that was there when reading began, and stays so: what is held
    remains good while the brokers are away. What `apply` raises is counted against the record, never against the rest.
    """

    def __init__(self, settings: KafkaSettings, topic: str, apply: Apply, *, client_id: str) -> None:
        self._settings = settings
        self._topic = topic
        self._apply = apply
        self._client_id = client_id
        self._caught_up = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._kafka: AIOKafkaConsumer | None = None
        self._next: dict[TopicPartition, int] = {}
        self._read = RECORDS.labels(topic)
        self._unusable = UNUSABLE.labels(topic)

    @property
    def ready(self) -> bool:
        """Whether the topic was read to the end that was there at first."""
        return self._caught_up.is_set()

    async def start(self) -> None:
        """Begin to read, in the background."""
        self._running = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop reading; what was read stays."""
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running

    async def wait_ready(self, timeout_s: float) -> None:
        """Return when `ready`; raises `Away` if it takes longer."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._caught_up.wait()
        except TimeoutError as error:
            raise UnavailableError(f"topic {self._topic}") from error

    async def _run(self) -> None:
        while True:
            try:
                await self._consume()
            except (KafkaError, OSError) as error:
                _LOG.warning("table starts over", topic=self._topic, error=type(error).__name__)
            except Exception:  # noqa: BLE001 - a table that ended would stay as it is for ever, unnoticed
                _LOG.exception("table failed", topic=self._topic)
            await asyncio.sleep(RETRY_S)

    async def _consume(self) -> None:
        install()
        kafka = AIOKafkaConsumer(
            **connection_options(self._settings),
            client_id=self._client_id,
            group_id=None,
            # Where reading left off may be compacted away meanwhile, or be in a topic that was made anew.
            auto_offset_reset="earliest",
            fetch_max_wait_ms=200,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        self._kafka = kafka
        try:
            await kafka.start()
            places = await self._partitions(kafka)
            kafka.assign(places)
            for place in places:
                kafka.seek(place, self._next.get(place, 0))
            ends = await kafka.end_offsets(places)
            while self._partitions_unchanged(kafka, places):
                self._apply_all(await kafka.getmany(timeout_ms=200, max_records=10_000))
                if not self._caught_up.is_set() and await self._at(kafka, ends):
                    self._caught_up.set()
        finally:
            self._kafka = None
            with suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await kafka.stop()

    async def _partitions(self, kafka: AIOKafkaConsumer) -> list[TopicPartition]:
        found: set[int] = set()
        while not found:
            # Waits for the topic to be made, for a while; then it is an error and we start over.
            found = await kafka._client._wait_on_metadata(self._topic)  # noqa: SLF001 - aiokafka offers it to producers only
        return [TopicPartition(self._topic, partition) for partition in sorted(found)]

    def _partitions_unchanged(self, kafka: AIOKafkaConsumer, places: list[TopicPartition]) -> bool:
        """False once the topic has more partitions than are read."""
        return len(kafka.partitions_for_topic(self._topic) or places) <= len(places)

    @staticmethod
    async def _at(kafka: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
        for place, end in ends.items():
            if await kafka.position(place) < end:
                return False
        return True

    def _apply_all(self, poll: dict[TopicPartition, list[ConsumerRecord]]) -> None:
        for place, records in poll.items():
            self._read.inc(len(records))
            for record in records:
                try:
                    self._apply(record.key or b"", record.value)
                except Exception as error:  # noqa: BLE001 - one record must not keep the others from being read
                    self._unusable.inc()
                    _LOG.error(
                        "record is not usable",
                        topic=self._topic,
                        partition=record.partition,
                        offset=record.offset,
                        error=type(error).__name__,
                    )
            if records:
                self._next[place] = records[-1].offset + 1
