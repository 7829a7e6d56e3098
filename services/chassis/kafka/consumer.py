"""Records from Kafka, poll by poll; an offset is committed only after its effect is durable."""

import asyncio
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from time import monotonic, time
from typing import Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import CommitFailedError, KafkaError, KafkaTimeoutError

from services.chassis.kafka.aiokafka_patches import install
from services.chassis.kafka.consumer_shutdown import close
from services.chassis.kafka.lag import Lag, is_caught_up
from services.chassis.kafka.producer import connection_options
from services.chassis.kafka.retention_loss import detect_retention_loss
from services.chassis.runtime import metrics
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import logger
from services.chassis.runtime.settings import KafkaSettings

RECORDS = metrics.counter("consumer_records_total", "Records read from Kafka.", ["topic"])
POLL_SECONDS = metrics.histogram("consumer_poll_seconds", "Time it took to handle what one poll brought.", ["group"])
POLL_RECORDS = metrics.histogram("consumer_poll_records", "Records one poll brought.", ["group"], buckets=metrics.SIZES)
REBALANCES = metrics.counter("consumer_rebalances_total", "Times that partitions were assigned anew.", ["group"])
RETRIES = metrics.counter("consumer_retries_total", "Polls handled again because a dependency was away.", ["group"])
HALTED = metrics.gauge(
    "consumer_halted_partitions", "Partitions not read on because nearly all their records would die.", ["group"]
)

_LOG = logger(__name__)

Poll = Mapping[TopicPartition, Sequence[ConsumerRecord]]
Offsets = Mapping[TopicPartition, int]

STALLED_AFTER_S = 60.0
MAX_BACKOFF_S = 5.0
COMMIT_TIMEOUT_S = 3.0
# Shorter than aiokafka's 40 s: a connection that died silently must not keep records waiting longer than that.
REQUEST_TIMEOUT_MS = 15_000


class Handler(Protocol):
    """What a worker does with a poll."""

    async def handle(self, poll: Poll) -> Offsets:
        """Make the poll's effects durable; return the next offsets that may be committed.

        An empty poll comes regularly, and before partitions are given away, so that what was left to be done can be
        finished. `Away` means: the same again later.
        """
        ...

    def on_revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Forget what is held back of these partitions: another member reads them from the committed offset."""
        ...


class Consumer(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no type hints
    """One member of a consumer group that feeds a handler.

    `start` returns at once; the group is joined in the background as soon as the brokers answer. What the handler
    raises but `Away` is a defect: it is logged, and the same records come again.
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
        self._settings = settings
        self._handler = handler
        self._group = group
        self._topics = list(topics)
        self._client_id = client_id
        self._may_begin = start_when
        self._stopped = halted_partitions
        self._poll_timeout_ms = poll_timeout_ms
        self._max_poll_records = max_poll_records
        self._clock = clock
        # A rebalance may take as long as a session, and brings nothing meanwhile.
        self._stall_timeout_s = max(STALLED_AFTER_S, settings.kafka_session_timeout_ms / 1000 + 30)
        self._kafka: AIOKafkaConsumer | None = None
        self._running: asyncio.Task[None] | None = None
        self._stopping = False
        self._at_safe_point = False
        self._revoking = False
        self._gave_up = False
        self._busy = asyncio.Lock()
        self._committable: dict[TopicPartition, int] = {}
        # What the handler has begun of the last poll and not finished.
        self._begun: Poll = {}
        self._committed_at = clock()
        self._last_loop_at = clock()
        self._last_progress_at = clock()
        self._assigned_at = clock()
        self._lag = Lag(group, wall_clock)
        # There from the first scrape on: a counter that appears with its first event seems not to have grown.
        for count in (RETRIES, REBALANCES):
            count.labels(group)

    @property
    def ready(self) -> bool:
        """Whether the group has been joined."""
        return self._kafka is not None and bool(self._kafka.assignment())

    @property
    def alive(self) -> bool:
        """False once the loop stands still, or records wait and none are handled, for a minute or more.

        False, too, while a partition is stopped: somebody has to look at what is in it.

        Waiting for Kafka or for what the handler needs is not standing still: starting anew would not help.
        """
        if self._stopped():
            return False
        return self._clock() - min(self._last_loop_at, self._last_progress_at) < self._stall_timeout_s

    async def start(self) -> None:
        """Begin to read, in the background."""
        self._running = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Finish the poll at hand, commit, and leave the group."""
        self._stopping = True
        if self._running is not None:
            if self._at_safe_point:
                self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running

    async def _run(self) -> None:
        backoff_s = 0.2
        while not self._stopping:
            try:
                if self._may_begin():
                    await self._consume()
                else:
                    self._last_progress_at = self._clock()
                backoff_s = 0.2
            except (KafkaError, OSError) as error:
                _LOG.warning("consumer starts over", group=self._group, error=type(error).__name__)
            except Exception:  # noqa: BLE001 - a face's last line of defence
                # A defect must not stop the others in this process; /live turns red when no progress is made.
                _LOG.exception("consumer failed", group=self._group)
                backoff_s = min(backoff_s * 2, MAX_BACKOFF_S)
            self._last_loop_at = self._clock()
            if not self._stopping:
                with self._may_be_interrupted():
                    await asyncio.sleep(backoff_s)

    @contextmanager
    def _may_be_interrupted(self) -> Iterator[None]:
        """Nothing is half done here: who stops need not wait."""
        self._at_safe_point = True
        try:
            yield
        finally:
            self._at_safe_point = False

    async def _consume(self) -> None:
        kafka = self._fresh()
        try:
            with self._may_be_interrupted():
                await self._join(kafka)
            await self._poll_until_stopped(kafka)
        finally:
            async with self._busy:
                # Whatever ended the loop, what is done is done; and what is held back will be read again.
                await self._finish()
                await self._commit(kafka)
                self._committable.clear()
                self._begun = {}
                self._forget(kafka.assignment())
                self._kafka = None
            await close(kafka)

    def _fresh(self) -> AIOKafkaConsumer:
        install()
        return AIOKafkaConsumer(
            **connection_options(self._settings),
            client_id=self._client_id,
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            # Other teams may write in transactions: what they take back is not for us.
            isolation_level="read_committed",
            # Each member gets its share of each topic. Sticky counts all topics' partitions together: who joined a
            # member with two topics took the whole of one, be it the one without lag. It is still offered, since a
            # group agrees on what all of its members know, and older ones know only that.
            partition_assignment_strategy=(RangePartitionAssignor, StickyPartitionAssignor),
            group_instance_id=self._settings.kafka_group_instance_id,
            session_timeout_ms=self._settings.kafka_session_timeout_ms,
            heartbeat_interval_ms=min(self._settings.kafka_session_timeout_ms // 5, 3_000),
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            max_partition_fetch_bytes=8 * 1024 * 1024,
            fetch_max_wait_ms=self._poll_timeout_ms,
            metadata_max_age_ms=30_000,
        )

    async def _join(self, kafka: AIOKafkaConsumer) -> None:
        try:
            await kafka.start()
        except (KafkaError, OSError):
            self._last_progress_at = self._clock()
            raise
        kafka.subscribe(self._topics, listener=self)
        self._kafka = kafka
        self._assigned_at = self._clock()

    async def _poll_until_stopped(self, kafka: AIOKafkaConsumer) -> None:
        while not self._stopping:
            poll = await self._next(kafka)
            self._last_loop_at = self._clock()
            async with self._busy:
                await self._handle(kafka, poll)
                self._stop_what_is_bad(kafka, poll)
                if self._clock() - self._committed_at >= 1.0:
                    await self._commit(kafka)
                    self._lag.update(kafka)
            self._detect_stall(kafka)

    async def _next(self, kafka: AIOKafkaConsumer) -> Poll:
        """The next poll. During a rebalance aiokafka waits for its end, however long that takes."""
        try:
            with self._may_be_interrupted():
                async with asyncio.timeout(self._stall_timeout_s - 10):
                    poll: Poll = await kafka.getmany(
                        timeout_ms=self._poll_timeout_ms, max_records=self._max_poll_records
                    )
                    return poll
        except TimeoutError as error:
            raise KafkaTimeoutError("the group does not come to rest") from error

    async def _handle(self, kafka: AIOKafkaConsumer, poll: Poll) -> None:
        """Hand the poll over until it is durable, keeping the membership alive while a dependency is away."""
        backoff_s = 0.1
        while True:
            began = self._clock()
            try:
                offsets = await self._handler.handle(poll)
            except UnavailableError as away:
                RETRIES.labels(self._group).inc()
                _LOG.warning("waiting for a dependency", group=self._group, dependency=away.dependency)
                self._lag.update(kafka, _joined(self._begun, poll))
                await self._pause(kafka, backoff_s)
                backoff_s = min(backoff_s * 2, MAX_BACKOFF_S)
                if self._stopping or self._revoking:
                    # Not handled, so not committed: whoever has the partitions next reads the poll again.
                    self._gave_up = True
                    return
            else:
                self._done(kafka, poll, offsets, took_s=self._clock() - began)
                return

    def _done(self, kafka: AIOKafkaConsumer, poll: Poll, offsets: Offsets, *, took_s: float) -> None:
        self._gave_up = False
        self._committable.update(offsets)
        self._begun = {
            place: [one for one in records if one.offset >= offsets.get(place, 0)] for place, records in poll.items()
        }
        if poll:
            self._lag.observe(poll)
            for place, records in poll.items():
                RECORDS.labels(place.topic).inc(len(records))
            POLL_SECONDS.labels(self._group).observe(took_s)
            POLL_RECORDS.labels(self._group).observe(sum(map(len, poll.values())))
        if poll or is_caught_up(kafka) or self._stopped():
            self._last_progress_at = self._clock()

    def _detect_stall(self, kafka: AIOKafkaConsumer) -> None:
        """A member that stays up and reads nothing, or whose topics are yet to be made, joins anew in good time."""
        # Who has just joined gets as long to read something: else one stall would be followed by the next at once.
        if self._clock() - max(self._last_progress_at, self._assigned_at) < self._stall_timeout_s / 2:
            return
        if not kafka.assignment():
            # No reason to end the process.
            self._last_progress_at = self._clock()
            if any(map(kafka.partitions_for_topic, self._topics)):
                # More members than partitions. Joining anew would make the whole group stand still, for nothing.
                return
        raise KafkaTimeoutError("nothing was read although it should have been")

    def _stop_what_is_bad(self, kafka: AIOKafkaConsumer, poll: Poll) -> None:
        """Leave alone the partitions that the handler gave up; the others go on."""
        stopped = [place for place in kafka.assignment() if place in self._stopped()]
        HALTED.labels(self._group).set(len(stopped))
        fresh = [place for place in stopped if place not in kafka.paused()]
        if fresh:
            kafka.pause(*fresh)
        for place in fresh:
            # What the poll brought in vain is lag like what comes after it.
            first = poll[place][0].offset if poll.get(place) else None
            handled = self._committable.get(place, first)
            if handled is not None:
                kafka.seek(place, handled)
                self._begun = {other: records for other, records in self._begun.items() if other != place}
            _LOG.error("partition is stopped", group=self._group, topic=place.topic, partition=place.partition)

    async def _pause(self, kafka: AIOKafkaConsumer, wait_s: float) -> None:
        """Let time pass without fetching, yet polling, so that the group does not think us dead."""
        until = self._clock() + wait_s
        while self._clock() < until and not (self._stopping or self._revoking):
            kafka.pause(*kafka.assignment())
            await kafka.getmany(timeout_ms=0)
            self._last_loop_at = self._last_progress_at = self._clock()
            await asyncio.sleep(min(0.05, wait_s))
        kafka.resume(*(place for place in kafka.paused() if place not in self._stopped()))

    async def _finish(self) -> None:
        """Let the handler end what it has begun: who has the partitions next would have to do it again."""
        if self._gave_up:
            # Nor could it end this.
            return
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                self._committable.update(await self._handler.handle({}))
        except (UnavailableError, TimeoutError):
            return
        except Exception:  # noqa: BLE001 - the handler's defect must not keep the rest from being committed
            _LOG.exception("what was begun could not be finished", group=self._group)

    async def _commit(self, kafka: AIOKafkaConsumer) -> None:
        self._committed_at = self._clock()
        assigned = kafka.assignment()
        offsets = {place: offset for place, offset in self._committable.items() if place in assigned}
        self._committable.clear()
        if not offsets:
            return
        try:
            # Without a limit aiokafka tries for as long as the coordinator is away.
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await kafka.commit(offsets)
        except CommitFailedError:
            # Someone else has the partitions now and judges the same records again, which changes nothing.
            _LOG.info("offsets were not taken", group=self._group)
        except (KafkaError, TimeoutError) as error:
            self._committable = offsets
            _LOG.warning("offsets wait", group=self._group, error=type(error).__name__)

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Let the poll at hand end, commit what it did, and forget what is held back."""
        self._revoking = True
        try:
            async with self._busy:
                if self._kafka is not None:
                    await self._finish()
                    await self._commit(self._kafka)
                # Should they come back, reading begins at the committed offsets.
                self._committable.clear()
                self._begun = {}
                self._forget(revoked)
        finally:
            self._revoking = False

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Count it, and look whether retention was faster than we."""
        REBALANCES.labels(self._group).inc()
        self._assigned_at = self._clock()
        _LOG.info("partitions assigned", group=self._group, partitions=len(assigned))
        if self._kafka is not None and assigned:
            with suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(COMMIT_TIMEOUT_S):
                    await detect_retention_loss(self._kafka, assigned, group=self._group)

    def _forget(self, partitions: Collection[TopicPartition]) -> None:
        if not partitions:
            return
        try:
            self._handler.on_revoked(partitions)
        except Exception:  # noqa: BLE001 - the handler's defect must not keep the group waiting
            _LOG.exception("what was held back could not be forgotten", group=self._group)


def _joined(before: Poll, poll: Poll) -> Poll:
    return {place: [*before.get(place, ()), *poll.get(place, ())] for place in before.keys() | poll.keys()}
