"""Kafka's face of status: polls in, committable offsets out."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from aiokafka import ConsumerRecord, TopicPartition

from services.chassis.kafka.consumer import Offsets, Poll
from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetter
from services.status import metrics
from services.status.avro import EventReader, Malformed
from services.status.domain.facts import UNDECIDED, Expired, JobEvent, Judged, Key, Opened
from services.status.flows.apply_events import World, record
from services.status.flows.inflight_writes import Held, Ready, Underway
from services.status.ports import TooBig

# So many held events are written at once, however young they are.
MOST_HELD = 4_000

# So many events are read at a time; so many such portions are written while the next is being read.
PORTION, PORTIONS = 300, 6

# After a poll of so many records there are probably more.
LARGE = 1_000

_COUNTED = {
    kind: metrics.EVENTS.labels(name) for kind, name in ((Opened, "opened"), (Judged, "judged"), (Expired, "expired"))
}


class DeadLetterBox(Protocol):
    """Takes what cannot be read."""

    async def send(self, letters: Iterable[DeadLetter]) -> None:
        """Return when all are safe; raises `Away`."""
        ...


Waiting = dict[TopicPartition, dict[int, Held]]


class Worker:
    """Records what each poll brings, portion by portion: the store is busy with some while the next is being read.

    A job that opens usually gets its verdicts within milliseconds. Held back that long, both become one insert
    instead of an insert and an update; the offsets from the held event on are not given up meanwhile.
    """

    def __init__(
        self,
        world: World,
        *,
        reader: EventReader,
        dead_letters: DeadLetterBox,
        brake: DeadLetterLimit,
        linger_s: float,
        clock_s: Callable[[], float],
    ) -> None:
        self._world = world
        self._reader = reader
        self._dead_letters = dead_letters
        self._brake = brake
        self._linger_s = linger_s
        self._clock_s = clock_s
        self._underway = Underway(most=PORTIONS, done=self._written, failed=self._unwritten)
        # What was read and neither written nor given to a writer, and up to where was read.
        self._waiting: Waiting = {}
        self._ends: dict[TopicPartition, int] = {}
        # What was given to be committed, and up to where a poll was read that is not handled yet.
        self._given: dict[TopicPartition, int] = {}
        self._taken: dict[TopicPartition, int] = {}
        self._guessing = True

    async def handle(self, poll: Poll) -> Offsets:
        """Record what is ready; every effect of the returned offsets is durable. Raises `Away`.

        After a large poll the next one is not kept waiting: what is still being written is not among the offsets.
        """
        now_s = self._clock_s()
        for portion in portions(poll):
            await self._take(portion, now_s)
            await self._begin(now_s)
        # A partition that is stopped now shows as lag, until somebody looks at it, all that is not committed by now.
        if sum(map(len, poll.values())) < LARGE or any(place in self._brake.halted for place in poll):
            await self._underway.all_done()
        self._taken.clear()
        return self._committable()

    def on_revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Forget what is held back of these partitions."""
        for place in partitions:
            for known in (self._waiting, self._ends, self._given, self._taken):
                known.pop(place, None)
            for ready in self._underway.pieces:
                ready.firsts.pop(place, None)
        self._brake.resume(partitions)

    async def _begin(self, now_s: float) -> None:
        """Let be written what is ready now, in order; the rest stays waiting."""
        held_back = self._held_back(now_s)
        events: list[Held] = []
        firsts: dict[TopicPartition, int] = {}
        stays: Waiting = {}
        for place, waiting in self._waiting.items():
            ready = [one for one in waiting.values() if one.event.header.key not in held_back]
            if ready:
                events += ready
                firsts[place] = ready[0].record.offset
            if len(ready) < len(waiting):
                stays[place] = {offset: one for offset, one in waiting.items() if one.event.header.key in held_back}
        if not events:
            return
        piece = Ready(events, firsts)
        keys = piece.keys
        await self._underway.room_for(keys)
        self._waiting = stays
        await self._underway.begin(piece, keys, self._record(events))

    def _written(self, piece: Ready) -> None:
        for kind, count in Counter(type(one.event.fact) for one in piece.events).items():
            _COUNTED[kind].inc(count)

    def _unwritten(self, piece: Ready) -> None:
        """It waits again, among what has come since."""
        for one in piece.events:
            place = TopicPartition(one.record.topic, one.record.partition)
            if place in piece.firsts:
                self._waiting.setdefault(place, {})[one.record.offset] = one
        self._waiting = {place: dict(sorted(waiting.items())) for place, waiting in self._waiting.items()}

    async def _record(self, ready: Sequence[Held]) -> None:
        """Record all at once; if a job cannot be kept, each on its own, and the events of that one are given up."""
        try:
            self._guessing = await record([one.event for one in ready], self._world, guessing=self._guessing)
        except TooBig:
            jobs: dict[Key, list[Held]] = {}
            for one in ready:
                jobs.setdefault(one.event.header.key, []).append(one)
            for events in jobs.values():
                await self._record_one_job(events)

    async def _record_one_job(self, events: Sequence[Held]) -> None:
        for one in events:
            try:
                await record([one.event], self._world)
            except TooBig as too_big:
                await self._dead_letters.send([DeadLetter(one.record, "too-big", str(too_big))])

    async def _take(self, portion: Poll, now_s: float) -> None:
        """Read the records and put them with those that wait; put those aside that cannot be read.

        A partition of which too many cannot be read is left standing in front of the one too many.
        """
        taken: list[tuple[TopicPartition, Sequence[ConsumerRecord], list[JobEvent | DeadLetter], list[int], int]] = []
        letters: list[DeadLetter] = []
        for place, given in portion.items():
            records = self._untaken(place, given)
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
            waiting = self._waiting.setdefault(place, {})
            for one, event in zip(records[:admitted], read, strict=False):
                if not isinstance(event, DeadLetter):
                    waiting[one.offset] = Held(now_s, event, one)
            self._ends[place] = self._taken[place] = records[admitted - 1].offset + 1

    def _untaken(self, place: TopicPartition, records: Sequence[ConsumerRecord]) -> Sequence[ConsumerRecord]:
        """Without those that were taken when the same poll was given up halfway."""
        taken = self._taken.get(place)
        return records if taken is None else [one for one in records if one.offset >= taken]

    def _read(self, one: ConsumerRecord) -> JobEvent | DeadLetter:
        try:
            return self._reader.read(one.value)
        except Malformed as malformed:
            return DeadLetter(one, malformed.reason, malformed.detail)

    def _held_back(self, now_s: float) -> AbstractSet[Key]:
        """Jobs that have opened just now, and of which nothing else is known."""
        youngest_s = now_s - self._linger_s
        if sum(map(len, self._waiting.values())) > MOST_HELD:
            return frozenset()
        opened: set[Key] = set()
        others: set[Key] = set()
        for waiting in self._waiting.values():
            for one in waiting.values():
                is_held = isinstance(one.event.fact, Opened) and one.since_s > youngest_s and not _is_whole(one.event)
                (opened if is_held else others).add(one.event.header.key)
        return opened - others

    def _committable(self) -> Offsets:
        """Up to the first event that is not written, after the last one read where all are; only what is new."""
        ends = dict(self._ends)
        unwritten = [{place: min(waiting) for place, waiting in self._waiting.items() if waiting}]
        for firsts in [*unwritten, *(piece.firsts for piece in self._underway.pieces)]:
            for place, first in firsts.items():
                ends[place] = min(ends[place], first)
        fresh = {place: end for place, end in ends.items() if self._given.get(place) != end}
        self._given = ends
        return fresh


def portions(poll: Poll) -> Iterator[Poll]:
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


def _is_whole(event: JobEvent) -> bool:
    """Whether intake refused every record, so that no verdicts will come."""
    fact = event.fact
    if not isinstance(fact, Opened) or fact.refused is None:
        return False
    letters = fact.refused.letters
    return len(letters) - letters.count(UNDECIDED) >= event.header.total
