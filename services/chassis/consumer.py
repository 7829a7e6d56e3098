"""Records from Kafka, poll by poll; an offset is committed only after its effect is durable."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import CommitFailedError, KafkaError
from prometheus_client import Gauge

from services.chassis import metrics
from services.chassis.errors import Away
from services.chassis.logs import logger
from services.chassis.producer import connection
from services.chassis.settings import KafkaSettings

RECORDS = metrics.counter("consumer_records_total", "Records read from Kafka.", ["topic"])
POLL_SECONDS = metrics.histogram("consumer_poll_seconds", "Time it took to handle what one poll brought.", ["group"])
POLL_RECORDS = metrics.histogram("consumer_poll_records", "Records one poll brought.", ["group"], buckets=metrics.SIZES)
LAG = metrics.gauge("consumer_lag_records", "Records not yet handled.", ["group", "topic", "partition"])
LAG_SECONDS = metrics.gauge("consumer_lag_seconds", "Age of the oldest record read last, 0 when caught up.", ["group"])
REBALANCES = metrics.counter("consumer_rebalances_total", "Times that partitions were assigned anew.", ["group"])
RETRIES = metrics.counter("consumer_retries_total", "Polls handled again because a dependency was away.", ["group"])

_LOG = logger(__name__)

Poll = Mapping[TopicPartition, Sequence[ConsumerRecord]]
Offsets = Mapping[TopicPartition, int]

STALLED_AFTER_S = 60.0
LONGEST_BACKOFF_S = 5.0


class Handler(Protocol):
    """What a worker does with a poll."""

    async def handle(self, poll: Poll) -> Offsets:
        """Make the poll's effects durable; return the next offsets that may be committed.

        An empty poll comes regularly, so that what was held back can be finished. `Away` means: the same again later.
        """
        ...

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Forget what is held back of these partitions: another member reads them from the committed offset."""
        ...


class Consumer(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no type hints
    """One member of a consumer group that feeds a handler.

    `start` returns at once; the group is joined in the background as soon as the brokers answer.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        handler: Handler,
        *,
        group: str,
        topics: Sequence[str],
        client_id: str,
        may_begin: Callable[[], bool] = lambda: True,
        poll_timeout_ms: int = 100,
        max_poll_records: int = 4_000,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._settings = settings
        self._handler = handler
        self._group = group
        self._topics = list(topics)
        self._client_id = client_id
        self._may_begin = may_begin
        self._poll_timeout_ms = poll_timeout_ms
        self._max_poll_records = max_poll_records
        self._clock = clock
        self._kafka: AIOKafkaConsumer | None = None
        self._running: asyncio.Task[None] | None = None
        self._stopping = False
        self._busy = asyncio.Lock()
        self._committable: dict[TopicPartition, int] = {}
        self._committed_at = 0.0
        self._turned_at = clock()
        self._progressed_at = clock()
        self._lag_labels: dict[TopicPartition, Gauge] = {}

    @property
    def ready(self) -> bool:
        """Whether the group has been joined."""
        return self._kafka is not None and bool(self._kafka.assignment())

    @property
    def alive(self) -> bool:
        """False once the loop stands still, or records wait and none were handled for a minute."""
        now = self._clock()
        return now - min(self._turned_at, self._progressed_at) < STALLED_AFTER_S

    async def start(self) -> None:
        """Begin to read, in the background."""
        self._running = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Finish the poll at hand, commit, and leave the group."""
        self._stopping = True
        if self._running is not None:
            await self._running

    async def _run(self) -> None:
        while not self._stopping:
            try:
                if self._may_begin():
                    await self._consume()
            except (KafkaError, OSError) as error:
                _LOG.warning("consumer starts over", group=self._group, error=type(error).__name__)
            except Exception:  # noqa: BLE001 - a face's last line of defence
                # A defect must not stop the others in this process; /live turns red when no progress is made.
                _LOG.exception("consumer failed", group=self._group)
            self._turned_at = self._clock()
            if not self._stopping:
                await asyncio.sleep(0.2)

    async def _consume(self) -> None:
        kafka = AIOKafkaConsumer(
            **connection(self._settings),
            client_id=self._client_id,
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            partition_assignment_strategy=(StickyPartitionAssignor,),
            group_instance_id=self._settings.kafka_group_instance_id,
            session_timeout_ms=self._settings.kafka_session_timeout_ms,
            heartbeat_interval_ms=min(self._settings.kafka_session_timeout_ms // 5, 3_000),
            max_partition_fetch_bytes=8 * 1024 * 1024,
            fetch_max_wait_ms=self._poll_timeout_ms,
            metadata_max_age_ms=30_000,
        )
        try:
            await kafka.start()
            kafka.subscribe(self._topics, listener=self)
            self._kafka = kafka
            await self._poll_until_stopped(kafka)
            await self._commit(kafka)
        finally:
            self._kafka = None
            self._committable.clear()
            with suppress(KafkaError, OSError):
                await kafka.stop()

    async def _poll_until_stopped(self, kafka: AIOKafkaConsumer) -> None:
        while not self._stopping:
            poll = await kafka.getmany(timeout_ms=self._poll_timeout_ms, max_records=self._max_poll_records)
            self._turned_at = self._clock()
            async with self._busy:
                await self._handle(kafka, poll)
            if self._clock() - self._committed_at >= 1.0:
                await self._commit(kafka)
                self._measure(kafka, poll)

    async def _handle(self, kafka: AIOKafkaConsumer, poll: Poll) -> None:
        """Hand the poll over until it is durable, keeping the membership alive while a dependency is away."""
        backoff_s = 0.1
        while True:
            began = self._clock()
            try:
                offsets = await self._handler.handle(poll)
            except Away as away:
                RETRIES.labels(self._group).inc()
                _LOG.warning("waiting for a dependency", group=self._group, what=away.what)
                await self._pause(kafka, backoff_s)
                backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)
                if self._stopping:
                    return
                poll = {place: records for place, records in poll.items() if place in kafka.assignment()}
            else:
                self._done(poll, offsets, self._clock() - began)
                return

    def _done(self, poll: Poll, offsets: Offsets, took_s: float) -> None:
        self._committable.update(offsets)
        self._progressed_at = self._clock()
        if poll:
            for place, records in poll.items():
                RECORDS.labels(place.topic).inc(len(records))
            POLL_SECONDS.labels(self._group).observe(took_s)
            POLL_RECORDS.labels(self._group).observe(sum(map(len, poll.values())))

    async def _pause(self, kafka: AIOKafkaConsumer, wait_s: float) -> None:
        """Let time pass without fetching, yet polling, so that the group does not think us dead."""
        until = self._clock() + wait_s
        while self._clock() < until and not self._stopping:
            kafka.pause(*kafka.assignment())
            await kafka.getmany(timeout_ms=int(wait_s * 1000))
            self._turned_at = self._clock()
            # getmany returns at once when nothing can be fetched.
            await asyncio.sleep(min(0.05, wait_s))
        kafka.resume(*kafka.paused())

    async def _commit(self, kafka: AIOKafkaConsumer) -> None:
        self._committed_at = self._clock()
        assigned = kafka.assignment()
        offsets = {place: offset for place, offset in self._committable.items() if place in assigned}
        self._committable.clear()
        if not offsets:
            return
        try:
            await kafka.commit(offsets)
        except CommitFailedError:
            # Someone else has the partitions now and judges the same records again, which changes nothing.
            _LOG.info("offsets were not taken", group=self._group)
        except KafkaError as error:
            self._committable = {**offsets, **self._committable}
            _LOG.warning("offsets wait", group=self._group, error=type(error).__name__)

    def _measure(self, kafka: AIOKafkaConsumer, poll: Poll) -> None:
        assigned = kafka.assignment()
        for gone in self._lag_labels.keys() - assigned:
            del self._lag_labels[gone]
            with suppress(KeyError):
                LAG.remove(self._group, gone.topic, str(gone.partition))
        behind = 0
        for place in assigned:
            end = kafka.highwater(place)
            position = self._position(kafka, place)
            if end is None or position is None:
                continue
            gauge = self._lag_labels.get(place)
            if gauge is None:
                gauge = self._lag_labels[place] = LAG.labels(self._group, place.topic, str(place.partition))
            gauge.set(max(end - position, 0))
            behind += max(end - position, 0)
        LAG_SECONDS.labels(self._group).set(self._age_s(kafka, poll) if behind else 0.0)

    @staticmethod
    def _position(kafka: AIOKafkaConsumer, place: TopicPartition) -> int | None:
        state = kafka._subscription.subscription.assignment.state_value(place)  # noqa: SLF001 - position() may block
        return state.position if state is not None and state.has_valid_position else None

    @staticmethod
    def _age_s(kafka: AIOKafkaConsumer, poll: Poll) -> float:
        stamps = [kafka.last_poll_timestamp(place) for place in poll]
        oldest = min((records[0].timestamp for records in poll.values() if records), default=None)
        newest = max((stamp for stamp in stamps if stamp), default=None)
        return max((newest - oldest) / 1000, 0.0) if oldest is not None and newest is not None else 0.0

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Let the poll at hand end, commit what it did, and forget what is held back."""
        async with self._busy:
            if self._kafka is not None:
                await self._commit(self._kafka)
            self._handler.revoked(revoked)

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Count it, and start the stall clock anew."""
        REBALANCES.labels(self._group).inc()
        self._progressed_at = self._clock()
        _LOG.info("partitions assigned", group=self._group, partitions=len(assigned))
