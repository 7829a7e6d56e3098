"""Kafka in: apply the events of each poll, return the offsets that may be committed."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from aiokafka import ConsumerRecord, TopicPartition

from services.chassis.kafka.consumer import Offsets, Poll
from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetter, DeadLetterSender, dead_positions
from services.jobs.codec import MalformedEventError
from services.jobs.events import UNDECIDED, Expired, JobEvent, JobKey, Judged, Opened
from services.status import metrics
from services.status.flows.apply_events import Deps, apply_events
from services.status.flows.inflight_writes import InFlightWrites, PendingEvent, WriteBatch
from services.status.ports import JobTooLargeError
from services.status.wire import EventCodec

# More pending events than this are written at once, however recent they are.
MAX_LINGERING_EVENTS = 4_000

# Events that are decoded at a time, and portions that are written concurrently.
PORTION, PORTIONS = 300, 6

# A poll of that many records is probably followed by more.
LARGE_POLL = 1_000

_EVENT_COUNTERS = {
    kind: metrics.EVENTS.labels(name) for kind, name in ((Opened, "opened"), (Judged, "judged"), (Expired, "expired"))
}


PendingEvents = dict[TopicPartition, dict[int, PendingEvent]]


@dataclass(frozen=True, slots=True)
class _PartitionPortion:
    """Decoded records of a partition: `dead` are the positions of malformed ones, the first `allowed` are accepted."""

    partition: TopicPartition
    records: Sequence[ConsumerRecord]
    events: Sequence[JobEvent | DeadLetter]
    dead: Sequence[int]
    allowed: int


class Worker:
    """Applies the events of each poll, portion by portion: some are written while the next is decoded.

    A job usually gets its verdicts within milliseconds after it was opened. An opened event lingers that long, so that
    both become one insert instead of an insert and an update; the offsets from it on are not returned meanwhile.
    """

    def __init__(
        self,
        deps: Deps,
        *,
        codec: EventCodec,
        dead_letters: DeadLetterSender,
        dead_letter_limit: DeadLetterLimit,
        linger_s: float,
        clock_s: Callable[[], float],
    ) -> None:
        self._deps = deps
        self._codec = codec
        self._dead_letters = dead_letters
        self._dead_letter_limit = dead_letter_limit
        self._linger_s = linger_s
        self._clock_s = clock_s
        self._in_flight = InFlightWrites(max_batches=PORTIONS, on_written=self._on_written, on_failed=self._on_failed)
        # Events that are neither written nor being written, and the offset up to which each partition was read.
        self._pending: PendingEvents = {}
        self._read_to: dict[TopicPartition, int] = {}
        # The offsets returned last, and those up to which an unfinished poll was accepted.
        self._last_committable: dict[TopicPartition, int] = {}
        self._accepted_to: dict[TopicPartition, int] = {}
        self._optimistic = True

    async def handle(self, poll: Poll) -> Offsets:
        """Apply the events that are ready; every effect before the returned offsets is durable.

        After a large poll the next one does not wait: events that are still being written are not among the offsets.
        Raises `UnavailableError`.
        """
        now_s = self._clock_s()
        for portion in split_poll(poll):
            await self._read_portion(portion, now_s)
            await self._submit_ready(now_s)
        # Uncommitted events of a halted partition would look like lag until somebody looks at it.
        if sum(map(len, poll.values())) < LARGE_POLL or any(
            partition in self._dead_letter_limit.halted for partition in poll
        ):
            await self._in_flight.drain()
        self._accepted_to.clear()
        return self._committable()

    def on_revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Forget the pending events and offsets of these partitions."""
        for partition in partitions:
            for offsets in (self._pending, self._read_to, self._last_committable, self._accepted_to):
                offsets.pop(partition, None)
            for batch in self._in_flight.active:
                batch.first_offsets.pop(partition, None)
        self._dead_letter_limit.resume(partitions)

    async def _submit_ready(self, now_s: float) -> None:
        """Start writing the pending events that do not linger, in order."""
        lingering = self._lingering_jobs(now_s)
        events: list[PendingEvent] = []
        first_offsets: dict[TopicPartition, int] = {}
        rest: PendingEvents = {}
        for partition, pending in self._pending.items():
            ready = [one for one in pending.values() if one.event.header.key not in lingering]
            if ready:
                events += ready
                first_offsets[partition] = ready[0].record.offset
            if len(ready) < len(pending):
                rest[partition] = {offset: one for offset, one in pending.items() if one.event.header.key in lingering}
        if not events:
            return
        batch = WriteBatch(events, first_offsets)
        keys = batch.keys
        await self._in_flight.wait_for_slot(keys)
        self._pending = rest
        await self._in_flight.submit(batch, keys, self._apply(events))

    def _on_written(self, batch: WriteBatch) -> None:
        for kind, count in Counter([type(pending.event.fact) for pending in batch.events]).items():
            _EVENT_COUNTERS[kind].inc(count)

    def _on_failed(self, batch: WriteBatch) -> None:
        """Put the events back among those that have come since."""
        for pending in batch.events:
            partition = TopicPartition(pending.record.topic, pending.record.partition)
            if partition in batch.first_offsets:
                self._pending.setdefault(partition, {})[pending.record.offset] = pending
        self._pending = {partition: dict(sorted(events.items())) for partition, events in self._pending.items()}

    async def _apply(self, events: Sequence[PendingEvent]) -> None:
        """Apply all events together; if a job becomes too large, one by one, and dead-letter those that do not fit."""
        try:
            self._optimistic = await apply_events(
                [pending.event for pending in events], self._deps, optimistic=self._optimistic
            )
        except JobTooLargeError:
            by_job: dict[JobKey, list[PendingEvent]] = {}
            for pending in events:
                by_job.setdefault(pending.event.header.key, []).append(pending)
            for of_job in by_job.values():
                await self._apply_one_by_one(of_job)

    async def _apply_one_by_one(self, events: Sequence[PendingEvent]) -> None:
        for pending in events:
            try:
                await apply_events([pending.event], self._deps)
            except JobTooLargeError as error:
                await self._dead_letters.send([DeadLetter(pending.record, "too-big", str(error))])

    async def _read_portion(self, portion: Poll, now_s: float) -> None:
        """Decode the records, add them to the pending ones, and dead-letter those that are malformed.

        A partition with too many malformed records is read up to the one too many.
        """
        parts = [self._decode_all(partition, records) for partition, records in portion.items()]
        dead_letters = [
            event for part in parts for event in part.events[: part.allowed] if isinstance(event, DeadLetter)
        ]
        if dead_letters:
            await self._dead_letters.send(dead_letters)
        for part in parts:
            self._dead_letter_limit.record(part.partition, len(part.events), part.dead)
            if not part.allowed:
                continue
            pending = self._pending.setdefault(part.partition, {})
            for record, event in zip(part.records[: part.allowed], part.events, strict=False):
                if not isinstance(event, DeadLetter):
                    pending[record.offset] = PendingEvent(now_s, event, record)
            end = part.records[part.allowed - 1].offset + 1
            self._read_to[part.partition] = self._accepted_to[part.partition] = end

    def _decode_all(self, partition: TopicPartition, records: Sequence[ConsumerRecord]) -> _PartitionPortion:
        records = self._skip_accepted(partition, records)
        events = [self._decode(record) for record in records]
        dead = dead_positions(events)
        allowed = self._dead_letter_limit.allowed(partition, len(events), dead)
        return _PartitionPortion(partition, records, events, dead, allowed)

    def _skip_accepted(self, partition: TopicPartition, records: Sequence[ConsumerRecord]) -> Sequence[ConsumerRecord]:
        """Without the records that were accepted before the same poll failed halfway."""
        accepted_to = self._accepted_to.get(partition)
        return records if accepted_to is None else [record for record in records if record.offset >= accepted_to]

    def _decode(self, record: ConsumerRecord) -> JobEvent | DeadLetter:
        try:
            return self._codec.decode(record.value)
        except MalformedEventError as error:
            return DeadLetter(record, error.reason, error.detail)

    def _lingering_jobs(self, now_s: float) -> AbstractSet[JobKey]:
        """Jobs that have just been opened and have no other pending event."""
        lingers_since_s = now_s - self._linger_s
        if sum(map(len, self._pending.values())) > MAX_LINGERING_EVENTS:
            return frozenset()
        opened: set[JobKey] = set()
        others: set[JobKey] = set()
        for events in self._pending.values():
            for pending in events.values():
                event = pending.event
                lingers = (
                    isinstance(event.fact, Opened)
                    and pending.read_at_s > lingers_since_s
                    and not _is_fully_refused(event)
                )
                (opened if lingers else others).add(event.header.key)
        return opened - others

    def _committable(self) -> Offsets:
        """The offset of each partition's first unwritten event, or its end if all are written; only changed ones."""
        ends = dict(self._read_to)
        pending = {partition: min(events) for partition, events in self._pending.items() if events}
        for first_offsets in [pending, *(batch.first_offsets for batch in self._in_flight.active)]:
            for partition, first in first_offsets.items():
                ends[partition] = min(ends[partition], first)
        changed = {partition: end for partition, end in ends.items() if self._last_committable.get(partition) != end}
        self._last_committable = ends
        return changed


def split_poll(poll: Poll) -> Iterator[Poll]:
    """Split the poll into portions of bounded size, in order; an empty poll gives one empty portion."""
    portion: dict[TopicPartition, Sequence[ConsumerRecord]] = {}
    room = PORTION
    for partition, records in poll.items():
        at = 0
        while at < len(records):
            portion[partition] = records[at : at + room]
            at += len(portion[partition])
            room -= len(portion[partition])
            if not room:
                yield portion
                portion, room = {}, PORTION
    if portion or not poll:
        yield portion


def _is_fully_refused(event: JobEvent) -> bool:
    """Whether ingest refused every record, so that no verdicts will come."""
    fact = event.fact
    if not isinstance(fact, Opened) or fact.refused is None:
        return False
    outcomes = fact.refused.outcomes
    return len(outcomes) - outcomes.count(UNDECIDED) >= event.header.total
