"""Kafka's face of status: polls in, committable offsets out."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from aiokafka import ConsumerRecord, TopicPartition
from msgspec import Struct

from services.chassis.brake import Brake
from services.chassis.consumer import Offsets, Poll
from services.chassis.deadletter import DeadLetter
from services.status import metrics
from services.status.avro import EventReader, Malformed
from services.status.domain.facts import UNDECIDED, Expired, JobEvent, Judged, Key, Opened
from services.status.flow import World, record
from services.status.ports import TooBig

# So many held events are written at once, however young they are.
MOST_HELD = 4_000

_COUNTED = {
    kind: metrics.EVENTS.labels(name) for kind, name in ((Opened, "opened"), (Judged, "judged"), (Expired, "expired"))
}


class DeadLetterBox(Protocol):
    """Takes what cannot be read."""

    async def send(self, letters: Iterable[DeadLetter]) -> None:
        """Return when all are safe; raises `Away`."""
        ...


class Held(Struct, frozen=True, gc=False):
    """An event that is held back, and since when."""

    since_s: float
    event: JobEvent
    record: ConsumerRecord


class Worker:
    """Records what each poll brings.

    A job that opens usually gets its verdicts within milliseconds. Held back that long, both become one insert
    instead of an insert and an update; the offsets from the held event on are not given up meanwhile.
    """

    def __init__(
        self,
        world: World,
        *,
        reader: EventReader,
        dead_letters: DeadLetterBox,
        brake: Brake,
        linger_s: float,
        clock_s: Callable[[], float],
    ) -> None:
        self._world = world
        self._reader = reader
        self._dead_letters = dead_letters
        self._brake = brake
        self._linger_s = linger_s
        self._clock_s = clock_s
        self._held: dict[TopicPartition, dict[int, Held]] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._given: dict[TopicPartition, int] = {}
        self._read_last: dict[TopicPartition, tuple[int, list[int]]] = {}

    async def handle(self, poll: Poll) -> Offsets:
        """Record what is ready; every effect of the returned offsets is durable. Raises `Away`."""
        letters = self._take(poll)
        if letters:
            await self._dead_letters.send(letters)
        ready, held = self._sorted()
        if ready:
            await self._record(ready)
            for kind, count in Counter(type(one.event.fact) for one in ready).items():
                _COUNTED[kind].inc(count)
        self._held = held
        # Only now: after `Away` the same records come again, and are counted once.
        for place, (total, dead) in self._read_last.items():
            self._brake.handled(place, total, dead)
        self._read_last.clear()
        return self._committable()

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Forget what is held back of these partitions."""
        for place in partitions:
            self._held.pop(place, None)
            self._ends.pop(place, None)
            self._given.pop(place, None)
            self._read_last.pop(place, None)
        self._brake.release(partitions)

    async def _record(self, ready: Sequence[Held]) -> None:
        """Record all at once; if a job cannot be kept, each on its own, and the events of that one are given up."""
        try:
            await record([one.event for one in ready], self._world)
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

    def _take(self, poll: Poll) -> list[DeadLetter]:
        """Read the records and put them with those held back; returns those that cannot be read.

        A partition of which too many cannot be read is left standing in front of the one too many.
        """
        now_s, letters = self._clock_s(), []
        for place, records in poll.items():
            read = [self._read(one) for one in records]
            dead = [at for at, event in enumerate(read) if isinstance(event, DeadLetter)]
            admitted = self._brake.admitted(place, len(read), dead)
            self._read_last[place] = (len(read), dead)
            if not admitted:
                continue
            held = self._held.setdefault(place, {})
            for one, event in zip(records[:admitted], read, strict=False):
                if isinstance(event, DeadLetter):
                    letters.append(event)
                else:
                    # A poll that comes again after a failure finds its own events here, and replaces them.
                    held[one.offset] = Held(now_s, event, one)
            self._ends[place] = records[admitted - 1].offset + 1
        return letters

    def _read(self, one: ConsumerRecord) -> JobEvent | DeadLetter:
        try:
            return self._reader.read(one.value)
        except Malformed as malformed:
            return DeadLetter(one, malformed.reason, malformed.detail)

    def _sorted(self) -> tuple[list[Held], dict[TopicPartition, dict[int, Held]]]:
        """What is to be written now, in order, and what stays."""
        waiting = self._still_waiting()
        ready: list[Held] = []
        stays: dict[TopicPartition, dict[int, Held]] = {}
        for place, held in self._held.items():
            ready += [one for one in held.values() if one.event.header.key not in waiting]
            left = {offset: one for offset, one in held.items() if one.event.header.key in waiting}
            if left:
                stays[place] = left
        return ready, stays

    def _still_waiting(self) -> set[Key]:
        """Jobs that have opened just now, and of which nothing else is known."""
        youngest_s = self._clock_s() - self._linger_s
        if sum(map(len, self._held.values())) > MOST_HELD:
            return set()
        opened: set[Key] = set()
        others: set[Key] = set()
        for held in self._held.values():
            for one in held.values():
                is_held = isinstance(one.event.fact, Opened) and one.since_s > youngest_s and not _is_whole(one.event)
                (opened if is_held else others).add(one.event.header.key)
        return opened - others

    def _committable(self) -> Offsets:
        """Up to the first event that is held back, after the last one read where none is; only what is new."""
        ends = {place: min(self._held.get(place) or (end,)) for place, end in self._ends.items()}
        fresh = {place: end for place, end in ends.items() if self._given.get(place) != end}
        self._given = ends
        return fresh


def _is_whole(event: JobEvent) -> bool:
    """Whether intake refused every record, so that no verdicts will come."""
    fact = event.fact
    if not isinstance(fact, Opened) or fact.refused is None:
        return False
    letters = fact.refused.letters
    return len(letters) - letters.count(UNDECIDED) >= event.header.total
