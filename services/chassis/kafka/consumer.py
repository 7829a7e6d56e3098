"""Consumes Kafka poll by poll; an offset is committed only after its effect is durable."""

import asyncio
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from time import monotonic, time
from typing import Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError, NoOffsetForPartitionError, OffsetOutOfRangeError

from services.chassis.kafka.commit_tracker import COMMIT_TIMEOUT_S, CommitTracker
from services.chassis.kafka.consumer_client import close_client, create_client
from services.chassis.kafka.lag import Lag, is_caught_up, seek_to_earliest
from services.chassis.kafka.stall_detector import StallDetector
from services.chassis.runtime import metrics
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import logger
from services.chassis.runtime.settings import KafkaSettings

RECORDS = metrics.counter("consumer_records_total", "Records read from Kafka.", ["topic"])
POLL_SECONDS = metrics.histogram("consumer_poll_seconds", "Time to process the records of one poll.", ["group"])
POLL_RECORDS = metrics.histogram("consumer_poll_records", "Records of one poll.", ["group"], buckets=metrics.SIZES)
REBALANCES = metrics.counter("consumer_rebalances_total", "Assignments of partitions.", ["group"])
RETRIES = metrics.counter("consumer_retries_total", "Polls retried because a dependency was unavailable.", ["group"])
HALTED = metrics.gauge(
    "consumer_halted_partitions", "Partitions not consumed because nearly all records would be dead letters.", ["group"]
)
MIN_BACKOFF_S = 0.2
MIN_RETRY_BACKOFF_S = 0.1
MAX_BACKOFF_S = 5.0
PARTITION_RETRY_S = 1.0
_LOG = logger(__name__)

Poll = Mapping[TopicPartition, Sequence[ConsumerRecord]]
Offsets = Mapping[TopicPartition, int]


class PartitionsUnavailableError(UnavailableError):
    """A dependency is unavailable that only some partitions of a poll need; the others were processed."""

    def __init__(self, dependency: str, partitions: Collection[TopicPartition], offsets: Offsets) -> None:
        """`offsets` are the next ones that may be committed; the `partitions` are read again from theirs."""
        super().__init__(dependency)
        self.partitions = partitions
        self.offsets = offsets


class Handler(Protocol):
    """Processes polls."""

    async def handle(self, poll: Poll) -> Offsets:
        """Make the poll's effects durable; return the next offsets that may be committed.

        Empty polls come regularly, and before partitions are revoked, so that buffered work can be finished.
        `UnavailableError` makes the consumer retry the same poll; `PartitionsUnavailableError` makes only its
        partitions wait.
        """

    def on_revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Drop what is buffered of these partitions: another member reads it from the committed offset."""


class Consumer(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no type hints
    """One member of a consumer group that feeds a handler.

    `start` returns at once; the member joins in the background as soon as the brokers answer. Any error of the
    handler but `UnavailableError` is logged as a defect, and the same records are read again.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        handler: Handler,
        *,
        group: str,
        topics: Sequence[str],
        client_id: str,
        start_when: Callable[[], bool] = lambda: True,
        halted_partitions: Callable[[], Collection[Hashable]] = tuple,
        poll_timeout_ms: int = 100,
        max_poll_records: int = 4_000,
        clock: Callable[[], float] = monotonic,
        wall_clock: Callable[[], float] = time,
    ) -> None:
        self._handler = handler
        self._group = group
        self._topics = list(topics)
        self._create_client = partial(
            create_client, settings, group=group, client_id=client_id, poll_timeout_ms=poll_timeout_ms
        )
        self._start_when = start_when
        self._halted_partitions = halted_partitions
        self._poll_timeout_ms = poll_timeout_ms
        self._max_poll_records = max_poll_records
        self._clock = clock
        self._commits = CommitTracker(group, clock)
        self._stalls = StallDetector(clock, session_timeout_s=settings.kafka_session_timeout_ms / 1000)
        self._lag = Lag(group, wall_clock)
        self._kafka: AIOKafkaConsumer | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._revoking = False
        self._at_safe_point = False
        self._abandoned = False
        # When partitions are read again that wait for a dependency of their own.
        self._retry_at: dict[TopicPartition, float] = {}
        # Held while a poll is processed or partitions are revoked.
        self._lock = asyncio.Lock()
        # Created now: to Prometheus, a counter that appears with its first event has not increased.
        for counter in (RETRIES, REBALANCES):
            counter.labels(group)

    @property
    def ready(self) -> bool:
        """Whether partitions are assigned."""
        return self._kafka is not None and bool(self._kafka.assignment())

    @property
    def alive(self) -> bool:
        """False once the loop hangs, or no available record is processed, for a minute or more.

        A halted partition does not count: after a restart its records would be dead-lettered up to the limit again.
        """
        return not self._stalls.is_stalled

    async def start(self) -> None:
        """Start consuming in the background."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Finish the current poll, commit, and leave the group."""
        self._stopping = True
        if self._task is not None:
            if self._at_safe_point:
                self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        backoff_s = MIN_BACKOFF_S
        while not self._stopping:
            try:
                if self._start_when():
                    await self._consume()
                else:
                    self._stalls.progress()
                backoff_s = MIN_BACKOFF_S
            except (KafkaError, OSError) as error:
                _LOG.warning("consumer restarting", group=self._group, error=type(error).__name__)
            except Exception:  # noqa: BLE001 - a defect must not end the process's other components
                # `alive` turns False if it persists.
                _LOG.exception("consumer failed", group=self._group)
                backoff_s = min(backoff_s * 2, MAX_BACKOFF_S)
            self._stalls.loop()
            if not self._stopping:
                with self._safe_point():
                    await asyncio.sleep(backoff_s)

    @contextmanager
    def _safe_point(self) -> Iterator[None]:
        """Mark code that `stop` may cancel: nothing is half done there."""
        self._at_safe_point = True
        try:
            yield
        finally:
            self._at_safe_point = False

    async def _consume(self) -> None:
        kafka = self._create_client()
        try:
            with self._safe_point():
                await self._join(kafka)
            await self._poll_until_stopped(kafka)
        finally:
            # `stop` may have cancelled this task, and before Python 3.11.3 a cancelled task's timeouts raise
            # CancelledError, which would skip the rest.
            await asyncio.create_task(self._leave(kafka))

    async def _leave(self, kafka: AIOKafkaConsumer) -> None:
        """Commit finished work, whatever ended the loop, and close; buffered work is read again."""
        async with self._lock:
            await self._release(kafka, kafka.assignment())
            self._kafka = None
        await close_client(kafka)

    async def _join(self, kafka: AIOKafkaConsumer) -> None:
        try:
            await kafka.start()
        except (KafkaError, OSError):
            self._stalls.progress()
            raise
        kafka.subscribe(self._topics, listener=self)
        self._kafka = kafka
        self._stalls.assigned()

    async def _poll_until_stopped(self, kafka: AIOKafkaConsumer) -> None:
        while not self._stopping:
            self._resume_waiting(kafka)
            poll = await self._next_poll(kafka)
            self._stalls.loop()
            async with self._lock:
                await self._handle(kafka, poll)
                self._pause_halted(kafka, poll)
                if self._commits.is_due:
                    await self._commits.commit(kafka)
                    self._lag.update(kafka)
            self._stalls.check(kafka, self._topics)

    async def _next_poll(self, kafka: AIOKafkaConsumer) -> Poll:
        """Return the next poll. During a rebalance aiokafka waits for its end, however long that takes."""
        try:
            with self._safe_point():
                async with asyncio.timeout(self._stalls.timeout_s - 10):
                    return await self._fetch(kafka, self._poll_timeout_ms)
        except TimeoutError as error:
            raise KafkaTimeoutError("the rebalance does not complete") from error

    async def _fetch(self, kafka: AIOKafkaConsumer, timeout_ms: int) -> Poll:
        """Return fetched records. Where the position does not exist, reading continues at the earliest record."""
        try:
            poll: Poll = await kafka.getmany(timeout_ms=timeout_ms, max_records=self._max_poll_records)
        except NoOffsetForPartitionError as error:
            positions = {error.args[0]: None}
        except OffsetOutOfRangeError as error:
            # The member was away for longer than the retention time, or waited that long for a dependency.
            positions = error.args[0]
        else:
            return poll
        self._commits.add(await seek_to_earliest(kafka, positions, group=self._group))
        return {}

    async def _handle(self, kafka: AIOKafkaConsumer, poll: Poll) -> None:
        """Pass the poll to the handler until it succeeds; stay in the group while a dependency is unavailable."""
        backoff_s = MIN_RETRY_BACKOFF_S
        while True:
            started_at = self._clock()
            waiting: Collection[TopicPartition] = ()
            try:
                offsets = await self._handler.handle(poll)
            except PartitionsUnavailableError as error:
                RETRIES.labels(self._group).inc()
                _LOG.warning("partitions waiting for a dependency", group=self._group, dependency=error.dependency)
                offsets, waiting = error.offsets, error.partitions
            except UnavailableError as error:
                RETRIES.labels(self._group).inc()
                _LOG.warning("waiting for a dependency", group=self._group, dependency=error.dependency)
                self._lag.update(kafka, self._commits.with_in_progress(poll))
                await self._back_off(kafka, backoff_s)
                backoff_s = min(backoff_s * 2, MAX_BACKOFF_S)
                if self._stopping or self._revoking:
                    # Not processed, so not committed: the partitions' next owner reads the poll again.
                    self._abandoned = True
                    return
                continue
            self._abandoned = False
            self._commits.handled(poll, offsets)
            if poll:
                self._observe(poll, took_s=self._clock() - started_at)
            if poll or is_caught_up(kafka) or self._halted_partitions():
                self._stalls.progress()
            for partition in kafka.assignment().intersection(waiting):
                self._pause(kafka, partition, poll)
                self._retry_at[partition] = self._clock() + PARTITION_RETRY_S
            return

    def _observe(self, poll: Poll, *, took_s: float) -> None:
        self._lag.observe(poll)
        for partition, records in poll.items():
            RECORDS.labels(partition.topic).inc(len(records))
        POLL_SECONDS.labels(self._group).observe(took_s)
        POLL_RECORDS.labels(self._group).observe(sum(map(len, poll.values())))

    def _pause_halted(self, kafka: AIOKafkaConsumer, poll: Poll) -> None:
        """Pause the partitions that the handler halted; the others go on."""
        halted = [partition for partition in kafka.assignment() if partition in self._halted_partitions()]
        HALTED.labels(self._group).set(len(halted))
        for partition in halted:
            if partition not in kafka.paused():
                self._pause(kafka, partition, poll)
                _LOG.error("partition halted", group=self._group, topic=partition.topic, partition=partition.partition)

    def _pause(self, kafka: AIOKafkaConsumer, partition: TopicPartition, poll: Poll) -> None:
        """Stop fetching a partition. Its records that were fetched and not processed count as lag."""
        kafka.pause(partition)
        records = poll.get(partition) or ()
        offset = self._commits.rewind(partition, records[0].offset if records else None)
        if offset is not None:
            kafka.seek(partition, offset)
            self._lag.observe({partition: [record for record in records if record.offset <= offset]})

    def _resume_waiting(self, kafka: AIOKafkaConsumer) -> None:
        """Fetch the partitions again that have waited for a dependency for long enough."""
        due = [partition for partition, at in self._retry_at.items() if at <= self._clock()]
        for partition in due:
            del self._retry_at[partition]
            if partition in kafka.paused() and partition not in self._halted_partitions():
                kafka.resume(partition)

    async def _back_off(self, kafka: AIOKafkaConsumer, wait_s: float) -> None:
        """Wait without fetching, yet polling, so that the group does not consider the member dead."""
        until = self._clock() + wait_s
        while self._clock() < until and not (self._stopping or self._revoking):
            kafka.pause(*kafka.assignment())
            await self._fetch(kafka, 0)
            self._stalls.loop()
            self._stalls.progress()
            await asyncio.sleep(min(0.05, wait_s))
        still_paused = {*self._halted_partitions(), *self._retry_at}
        kafka.resume(*(partition for partition in kafka.paused() if partition not in still_paused))

    async def _release(self, kafka: AIOKafkaConsumer | None, revoked: Collection[TopicPartition]) -> None:
        """Finish and commit what the handler has begun, and drop what it buffers of these partitions."""
        if kafka is not None:
            await self._finish()
            await self._commits.commit(kafka)
        # If the partitions come back, they are read from the committed offsets.
        self._commits.clear()
        self._retry_at.clear()
        if not revoked:
            return
        try:
            self._handler.on_revoked(revoked)
        except Exception:  # noqa: BLE001 - a defect of the handler must not block the group
            _LOG.exception("buffered records were not dropped", group=self._group)

    async def _finish(self) -> None:
        """Let the handler finish buffered work: the partitions' next owner would have to do it again."""
        if self._abandoned:
            # The dependency is unavailable for this, too.
            return
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                self._commits.add(await self._handler.handle({}))
        except (UnavailableError, TimeoutError):
            return
        except Exception:  # noqa: BLE001 - a defect of the handler must not prevent the commit
            _LOG.exception("buffered records were not finished", group=self._group)

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Finish the current poll, commit, and drop what is buffered."""
        self._revoking = True
        try:
            async with self._lock:
                await self._release(self._kafka, revoked)
        finally:
            self._revoking = False

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Count the assignment."""
        REBALANCES.labels(self._group).inc()
        self._stalls.assigned()
        _LOG.info("partitions assigned", group=self._group, partitions=len(assigned))
