"""Kafka's face of status: polls in, committable offsets out."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

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

# So many events are read at a time; so many such portions are written while the next is being read.
PORTION, PORTIONS = 400, 3

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


Waiting = dict[TopicPartition, dict[int, Held]]


@dataclass(slots=True)
class Turn:
    """What is found out while a poll is handled, and counts only once all of it is done. All of it is of one age.

    `waiting` has the events that are not written yet, by partition and offset. `ends` says up to where was read, `read`
    how many records that were, and which of them are dead. `ready` counts the facts that were written.
    """

    began_s: float
    waiting: Waiting
    ends: dict[TopicPartition, int] = field(default_factory=dict)
    read: dict[TopicPartition, tuple[int, list[int]]] = field(default_factory=dict)
    ready: Counter[type[Opened | Judged | Expired]] = field(default_factory=Counter)


class Underway:
    """Work that goes on beside what follows: so much of it at once, and never two pieces on one job."""

    def __init__(self, group: asyncio.TaskGroup, *, most: int) -> None:
        self._group = group
        self._most = most
        self._tasks: dict[asyncio.Task[None], AbstractSet[Key]] = {}

    async def add(self, keys: AbstractSet[Key], work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Return once the work may go on by itself."""
        while len(self._tasks) >= self._most or not all(map(keys.isdisjoint, self._tasks.values())):
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        task = self._group.create_task(work())
        self._tasks[task] = keys
        task.add_done_callback(self._tasks.pop)
        # Lets those begin and go on that have something to do.
        await asyncio.sleep(0)


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
        self._held: Waiting = {}
        self._ends: dict[TopicPartition, int] = {}
        self._given: dict[TopicPartition, int] = {}
        self._guessing = True

    async def handle(self, poll: Poll) -> Offsets:
        """Record what is ready; every effect of the returned offsets is durable. Raises `Away`."""
        turn = Turn(self._clock_s(), {place: dict(held) for place, held in self._held.items()})
        try:
            async with asyncio.TaskGroup() as group:
                underway = Underway(group, most=PORTIONS)
                for portion in portions(poll):
                    letters = self._take(portion, turn)
                    if letters:
                        await self._dead_letters.send(letters)
                    ready = self._ready(turn)
                    if ready:
                        await underway.add({one.event.header.key for one in ready}, partial(self._record, ready))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        # Only now: after `Away` the same records come again, and all of this is found out anew.
        self._held = turn.waiting
        self._ends |= turn.ends
        for place, (total, dead) in turn.read.items():
            self._brake.handled(place, total, dead)
        for kind, count in turn.ready.items():
            _COUNTED[kind].inc(count)
        return self._committable()

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Forget what is held back of these partitions."""
        for place in partitions:
            self._held.pop(place, None)
            self._ends.pop(place, None)
            self._given.pop(place, None)
        self._brake.release(partitions)

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

    def _take(self, portion: Poll, turn: Turn) -> list[DeadLetter]:
        """Read the records and put them with those held back; returns those that cannot be read.

        A partition of which too many cannot be read is left standing in front of the one too many.
        """
        letters: list[DeadLetter] = []
        for place, records in portion.items():
            before, dead = turn.read.get(place, (0, []))
            read = [self._read(one) for one in records]
            total = before + len(read)
            dead += [before + at for at, event in enumerate(read) if isinstance(event, DeadLetter)]
            turn.read[place] = (total, dead)
            admitted = max(self._brake.admitted(place, total, dead) - before, 0)
            if not admitted:
                continue
            waiting = turn.waiting.setdefault(place, {})
            for one, event in zip(records[:admitted], read, strict=False):
                if isinstance(event, DeadLetter):
                    letters.append(event)
                else:
                    waiting[one.offset] = Held(turn.began_s, event, one)
            turn.ends[place] = records[admitted - 1].offset + 1
        return letters

    def _read(self, one: ConsumerRecord) -> JobEvent | DeadLetter:
        try:
            return self._reader.read(one.value)
        except Malformed as malformed:
            return DeadLetter(one, malformed.reason, malformed.detail)

    def _ready(self, turn: Turn) -> list[Held]:
        """What is to be written now, in order; the rest stays waiting."""
        held_back = self._held_back(turn)
        ready: list[Held] = []
        stays: Waiting = {}
        for place, waiting in turn.waiting.items():
            ready += [one for one in waiting.values() if one.event.header.key not in held_back]
            left = {offset: one for offset, one in waiting.items() if one.event.header.key in held_back}
            if left:
                stays[place] = left
        turn.waiting = stays
        turn.ready.update(type(one.event.fact) for one in ready)
        return ready

    def _held_back(self, turn: Turn) -> AbstractSet[Key]:
        """Jobs that have opened just now, and of which nothing else is known."""
        youngest_s = turn.began_s - self._linger_s
        if sum(map(len, turn.waiting.values())) > MOST_HELD:
            return frozenset()
        opened: set[Key] = set()
        others: set[Key] = set()
        for held in turn.waiting.values():
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
