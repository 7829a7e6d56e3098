"""Kafka's face of status: polls in, committable offsets out."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet

from aiokafka import ConsumerRecord, TopicPartition

from services.chassis.kafka.consumer import Offsets, Poll
from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetter, DeadLetterSender
from services.jobs.codec import MalformedEventError
from services.jobs.events import UNDECIDED, Expired, JobEvent, JobKey, Judged, Opened
from services.status import metrics
from services.status.flows.apply_events import Deps, apply_events
from services.status.flows.inflight_writes import InFlightWrites, PendingEvent, WriteBatch
from services.status.ports import JobTooLargeError
from services.status.wire import EventCodec

# So many held events are written at once, however young they are.
MAX_LINGERING_EVENTS = 4_000

# So many events are read at a time; so many such portions are written while the next is being read.
PORTION, PORTIONS = 300, 6

# After a poll of so many records there are probably more.
LARGE_POLL = 1_000

_EVENT_COUNTERS = {
    kind: metrics.EVENTS.labels(name) for kind, name in ((Opened, "opened"), (Judged, "judged"), (Expired, "expired"))
}


PendingEvents = dict[TopicPartition, dict[int, PendingEvent]]


class Worker:
    """Records what each poll brings, portion by portion: the store is busy with some while the next is being read.

    A job that opens usually gets its verdicts within milliseconds. Held back that long, both become one insert
    instead of an insert and an update; the offsets from the held event on are not given up meanwhile.
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
        self._world = deps
        self._codec = codec
        self._dead_letters = dead_letters
        self._brake = dead_letter_limit
        self._linger_s = linger_s
        self._clock_s = clock_s
        self._in_flight = InFlightWrites(max_batches=PORTIONS, on_written=self._on_written, on_failed=self._on_failed)
        # What was read and neither written nor given to a writer, and up to where was read.
        self._pending: PendingEvents = {}
        self._read_to: dict[TopicPartition, int] = {}
        # What was given to be committed, and up to where a poll was read that is not handled yet.
        self._last_committable: dict[TopicPartition, int] = {}
        self._accepted_to: dict[TopicPartition, int] = {}
        self._optimistic = True

    async def handle(self, poll: Poll) -> Offsets:
        """Record what is ready; every effect of the returned offsets is durable. Raises `Away`.

        After a large poll the next one is not kept waiting: what is still being written is not among the offsets.
        """
        now_s = self._clock_s()
        for portion in split_poll(poll):
            await self._read_portion(portion, now_s)
            await self._submit_ready(now_s)
        # A partition that is stopped now shows as lag, until somebody looks at it, all that is not committed by now.
        if sum(map(len, poll.values())) < LARGE_POLL or any(place in self._brake.halted for place in poll):
            await self._in_flight.drain()
        self._accepted_to.clear()
        return self._committable()

    def on_revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Forget what is held back of these partitions."""
        for place in partitions:
            for known in (self._pending, self._read_to, self._last_committable, self._accepted_to):
                known.pop(place, None)
            for ready in self._in_flight.active:
                ready.first_offsets.pop(place, None)
        self._brake.resume(partitions)

    async def _submit_ready(self, now_s: float) -> None:
        """Let be written what is ready now, in order; the rest stays waiting."""
        held_back = self._lingering_jobs(now_s)
        events: list[PendingEvent] = []
        firsts: dict[TopicPartition, int] = {}
        stays: PendingEvents = {}
        for place, waiting in self._pending.items():
            ready = [one for one in waiting.values() if one.event.header.key not in held_back]
            if ready:
                events += ready
                firsts[place] = ready[0].record.offset
            if len(ready) < len(waiting):
                stays[place] = {offset: one for offset, one in waiting.items() if one.event.header.key in held_back}
        if not events:
            return
        piece = WriteBatch(events, firsts)
        keys = piece.keys
        await self._in_flight.wait_for_slot(keys)
        self._pending = stays
        await self._in_flight.submit(piece, keys, self._apply(events))

    def _on_written(self, piece: WriteBatch) -> None:
        for kind, count in Counter(type(one.event.fact) for one in piece.events).items():
            _EVENT_COUNTERS[kind].inc(count)

    def _on_failed(self, piece: WriteBatch) -> None:
        """It waits again, among what has come since."""
        for one in piece.events:
            place = TopicPartition(one.record.topic, one.record.partition)
            if place in piece.first_offsets:
                self._pending.setdefault(place, {})[one.record.offset] = one
        self._pending = {place: dict(sorted(waiting.items())) for place, waiting in self._pending.items()}

    async def _apply(self, ready: Sequence[PendingEvent]) -> None:
        """Record all at once; if a job cannot be kept, each on its own, and the events of that one are given up."""
        try:
            self._optimistic = await apply_events(
                [one.event for one in ready], self._world, optimistic=self._optimistic
            )
        except JobTooLargeError:
            jobs: dict[JobKey, list[PendingEvent]] = {}
            for one in ready:
                jobs.setdefault(one.event.header.key, []).append(one)
            for events in jobs.values():
                await self._apply_one_by_one(events)

    async def _apply_one_by_one(self, events: Sequence[PendingEvent]) -> None:
        for one in events:
            try:
                await apply_events([one.event], self._world)
            except JobTooLargeError as too_big:
                await self._dead_letters.send([DeadLetter(one.record, "too-big", str(too_big))])

    async def _read_portion(self, portion: Poll, now_s: float) -> None:
        """Read the records and put them with those that wait; put those aside that cannot be read.

        A partition of which too many cannot be read is left standing in front of the one too many.
        """
        taken: list[tuple[TopicPartition, Sequence[ConsumerRecord], list[JobEvent | DeadLetter], list[int], int]] = []
        letters: list[DeadLetter] = []
        for place, given in portion.items():
            records = self._skip_accepted(place, given)
            read = [self._read(one) for one in records]
            dead = [at for at, event in enumerate(read) if isinstance(event, DeadLetter)]
            admitted = self._brake.allowed(place, len(read), dead)
            letters += [event for event in read[:admitted] if isinstance(event, DeadLetter)]
            taken.append((place, records, read, dead, admitted))
        if letters:
            await self._dead_letters.send(letters)
        for place, records, read, dead, admitted in taken:
            self._brake.record(place, len(read), dead)
            if not admitted:
                continue
            waiting = self._pending.setdefault(place, {})
            for one, event in zip(records[:admitted], read, strict=False):
                if not isinstance(event, DeadLetter):
                    waiting[one.offset] = PendingEvent(now_s, event, one)
            self._read_to[place] = self._accepted_to[place] = records[admitted - 1].offset + 1

    def _skip_accepted(self, place: TopicPartition, records: Sequence[ConsumerRecord]) -> Sequence[ConsumerRecord]:
        """Without those that were taken when the same poll was given up halfway."""
        taken = self._accepted_to.get(place)
        return records if taken is None else [one for one in records if one.offset >= taken]

    def _read(self, one: ConsumerRecord) -> JobEvent | DeadLetter:
        try:
            return self._codec.decode(one.value)
        except MalformedEventError as malformed:
            return DeadLetter(one, malformed.reason, malformed.detail)

    def _lingering_jobs(self, now_s: float) -> AbstractSet[JobKey]:
        """Jobs that have opened just now, and of which nothing else is known."""
        youngest_s = now_s - self._linger_s
        if sum(map(len, self._pending.values())) > MAX_LINGERING_EVENTS:
            return frozenset()
        opened: set[JobKey] = set()
        others: set[JobKey] = set()
        for waiting in self._pending.values():
            for one in waiting.values():
                is_held = (
                    isinstance(one.event.fact, Opened)
                    and one.read_at_s > youngest_s
                    and not _is_fully_refused(one.event)
                )
                (opened if is_held else others).add(one.event.header.key)
        return opened - others

    def _committable(self) -> Offsets:
        """Up to the first event that is not written, after the last one read where all are; only what is new."""
        ends = dict(self._read_to)
        unwritten = [{place: min(waiting) for place, waiting in self._pending.items() if waiting}]
        for firsts in [*unwritten, *(piece.first_offsets for piece in self._in_flight.active)]:
            for place, first in firsts.items():
                ends[place] = min(ends[place], first)
        fresh = {place: end for place, end in ends.items() if self._last_committable.get(place) != end}
        self._last_committable = ends
        return fresh


def split_poll(poll: Poll) -> Iterator[Poll]:
    """The poll in pieces of bounded size, in order; one that is empty if it is."""
    portion: dict[TopicPartition, Sequence[ConsumerRecord]] = {}
    room = PORTION
    for place, records in poll.items():
        at = 0
        while at < len(records):
            portion[place] = records[at : at + room]
            at += len(portion[place])
            room -= len(portion[place])
            if not room:
                yield portion
                portion, room = {}, PORTION
    if portion or not poll:
        yield portion


def _is_fully_refused(event: JobEvent) -> bool:
    """Whether intake refused every record, so that no verdicts will come."""
    fact = event.fact
    if not isinstance(fact, Opened) or fact.refused is None:
        return False
    letters = fact.refused.outcomes
    return len(letters) - letters.count(UNDECIDED) >= event.header.total
