"""A compacted topic, held in memory by whoever needs it."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from services.chassis import metrics
from services.chassis.errors import Away
from services.chassis.logs import logger
from services.chassis.producer import connection
from services.chassis.settings import KafkaSettings

READ = metrics.counter("table_records_total", "Records read from a compacted topic.", ["topic"])
_LOG = logger(__name__)

Apply = Callable[[bytes, bytes | None], None]


class Table:
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
        self._read = READ.labels(topic)

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
            raise Away(f"topic {self._topic}") from error

    async def _run(self) -> None:
        while True:
            try:
                await self._follow()
            except (KafkaError, OSError) as error:
                _LOG.warning("table starts over", topic=self._topic, error=type(error).__name__)
            await asyncio.sleep(0.3)

    async def _follow(self) -> None:
        # Without a group, subscribing assigns all partitions to us, those that are added later included.
        kafka = AIOKafkaConsumer(
            self._topic,
            **connection(self._settings),
            client_id=self._client_id,
            group_id=None,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=200,
        )
        try:
            await kafka.start()
            places = kafka.assignment()
            if not places:
                return
            ends = await kafka.end_offsets(places)
            while True:
                self._take(await kafka.getmany(timeout_ms=200, max_records=10_000))
                if not self._caught_up.is_set() and await self._at(kafka, ends):
                    self._caught_up.set()
        finally:
            with suppress(KafkaError, OSError):
                await kafka.stop()

    @staticmethod
    async def _at(kafka: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
        for place, end in ends.items():
            if await kafka.position(place) < end:
                return False
        return True

    def _take(self, poll: dict[TopicPartition, list[object]]) -> None:
        for records in poll.values():
            self._read.inc(len(records))
            for record in records:
                try:
                    self._apply(record.key or b"", record.value)  # type: ignore[attr-defined] # ConsumerRecord
                except ValueError as error:
                    _LOG.error("record is not usable", topic=self._topic, error=type(error).__name__)
