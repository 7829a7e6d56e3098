"""Dead letters: which there are, and sending them back where they came from."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import StrEnum

from aiokafka import ConsumerRecord, TopicPartition

from services.chassis.kafka import dead_letters as dlq
from services.chassis.kafka.producer import Headers, Producer, ProducerRecord
from services.chassis.runtime.settings import KafkaSettings
from services.cli.read_topic import scan
from services.topics import TOPICS

BOXES = tuple(topic.name for topic in TOPICS if topic.name.endswith(dlq.SUFFIX))

# A letter cannot be changed, so that it was replayed is told by a later record of the same partition.
MARK, MARKED = "dlq.mark", "dlq.marked-offset"
# What a replayed record carries, so that it can be found where it went.
REPLAYED_FROM = "dlq.replayed-from"
_LOT = 200
_NUMBER = re.compile("[0-9]{1,9}")
_OFFSET = re.compile(b"[0-9]{1,19}")


class State(StrEnum):
    """What became of a letter."""

    OPEN = "open"
    # A replay began; whether the record got through is seen where it was sent.
    REPLAYING = "replaying"
    REPLAYED = "replayed"


_STATES = {state.encode(): state for state in State}


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter; `box`, `partition` and `offset` name it."""

    box: str
    partition: int
    offset: int
    died_at_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    state: State = State.OPEN
    replay_began_ms: int = 0

    @property
    def name(self) -> str:
        """What `show` and `replay` call it."""
        return f"{self.box}/{self.partition}/{self.offset}"

    def told(self, header: str) -> str:
        """What a header of its provenance says."""
        return (dict(self.headers).get(header) or b"").decode("utf-8", "replace")

    @property
    def origin(self) -> str:
        """Where the record was read."""
        place = (dlq.ORIGINAL_TOPIC, dlq.ORIGINAL_PARTITION, dlq.ORIGINAL_OFFSET)
        return "/".join(self.told(header) for header in place)

    @property
    def home(self) -> TopicPartition | None:
        """Where its record goes back to; None if it does not say, as one that is not ours, or names another topic."""
        topic, partition = self.told(dlq.ORIGINAL_TOPIC), self.told(dlq.ORIGINAL_PARTITION)
        is_known = topic + dlq.SUFFIX == self.box and _NUMBER.fullmatch(partition)
        return TopicPartition(topic, int(partition)) if is_known else None

    @property
    def is_whole(self) -> bool:
        """Whether all of the record is in the letter."""
        return not self.told(dlq.TRUNCATED)

    @property
    def may_go(self) -> bool:
        """Whether its record can be sent back, and was not yet."""
        return self.is_whole and self.home is not None and self.state is not State.REPLAYED


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which letters are meant; what is empty lets all pass."""

    reasons: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None

    def lets_pass(self, letter: Letter) -> bool:
        """Whether the letter is meant."""
        return (
            (not self.reasons or letter.told(dlq.REASON) in self.reasons)
            and (not self.topics or letter.told(dlq.ORIGINAL_TOPIC) in self.topics)
            and (not self.names or letter.name in self.names)
            and (self.since_ms is None or letter.died_at_ms >= self.since_ms)
            and (self.until_ms is None or letter.died_at_ms < self.until_ms)
        )


@dataclass(slots=True)
class _Box:
    """Letters as they are read, with what later marks say of them."""

    letters: dict[tuple[str, int, int], Letter] = field(default_factory=dict)

    def take(self, record: ConsumerRecord) -> None:
        headers = dict(record.headers)
        if MARK not in headers:
            letter = Letter(
                record.topic,
                record.partition,
                record.offset,
                record.timestamp,
                record.key,
                record.value,
                tuple(record.headers),
            )
            self.letters[record.topic, record.partition, record.offset] = letter
            return
        offset, state = headers.get(MARKED) or b"", headers[MARK] or b""
        # Whoever else writes there may have named a header like ours.
        if not (_OFFSET.fullmatch(offset) and state in _STATES):
            return
        place = (record.topic, record.partition, int(offset))
        marked = self.letters.get(place)
        if marked is not None:
            self.letters[place] = _marked(marked, _STATES[state], record.timestamp)


def _marked(letter: Letter, state: State, at_ms: int) -> Letter:
    began_ms = letter.replay_began_ms or at_ms
    return Letter(
        letter.box,
        letter.partition,
        letter.offset,
        letter.died_at_ms,
        letter.key,
        letter.value,
        letter.headers,
        state,
        began_ms,
    )


async def letters(settings: KafkaSettings, wanted: Filter) -> list[Letter]:
    """The letters that are meant, the oldest first. Raises `Away`."""
    box = _Box()
    async with aclosing(scan(settings, BOXES)) as records:
        async for record in records:
            box.take(record)
    return sorted(filter(wanted.lets_pass, box.letters.values()), key=lambda letter: (letter.died_at_ms, letter.name))


async def replay(chosen: Iterable[Letter], *, settings: KafkaSettings, producer: Producer) -> int:
    """Send letters back to their topics and partitions, each once however often this is done; returns how many.

    First it is marked that a replay begins, then the records go, then it is marked that they went. After a crash
    between the two marks, the records are looked for where they would be. Raises `Away`; doing it again is safe.
    """
    waiting = [letter for letter in chosen if letter.may_go]
    gone = await _gone(settings, [letter for letter in waiting if letter.state is State.REPLAYING])
    await _mark(producer, State.REPLAYED, [letter for letter in waiting if letter.name in gone])
    fresh = [letter for letter in waiting if letter.name not in gone]
    for start in range(0, len(fresh), _LOT):
        lot = fresh[start : start + _LOT]
        await _mark(producer, State.REPLAYING, lot)
        for place, together in _by(lot, _home).items():
            await producer.send_to(place.topic, place.partition, [_again(letter) for letter in together])
        await _mark(producer, State.REPLAYED, lot)
    return len(fresh)


async def _gone(settings: KafkaSettings, unsure: Sequence[Letter]) -> set[str]:
    """The names of those letters that are back in their topics."""
    if not unsure:
        return set()
    wanted, found = {letter.name for letter in unsure}, set()
    topics = sorted({_home(letter).topic for letter in unsure})
    since_ms = min(letter.replay_began_ms for letter in unsure)
    async with aclosing(scan(settings, topics, since_ms=since_ms)) as records:
        async for record in records:
            name = (dict(record.headers).get(REPLAYED_FROM) or b"").decode("utf-8", "replace")
            if name in wanted:
                found.add(name)
    return found


async def _mark(producer: Producer, state: State, lot: Sequence[Letter]) -> None:
    for place, together in _by(lot, lambda letter: TopicPartition(letter.box, letter.partition)).items():
        marks = [
            ProducerRecord(letter.key, None, ((MARK, state.encode()), (MARKED, str(letter.offset).encode())))
            for letter in together
        ]
        await producer.send_to(place.topic, place.partition, marks)


def _again(letter: Letter) -> ProducerRecord:
    """The record as it was, with what tells where it comes from now."""
    kept = [(name, content) for name, content in letter.headers if not name.startswith(dlq.PREFIX)]
    attempts = (dlq.ATTEMPTS, letter.told(dlq.ATTEMPTS).encode())
    return ProducerRecord(letter.key, letter.value, (*kept, attempts, (REPLAYED_FROM, letter.name.encode())))


def _home(letter: Letter) -> TopicPartition:
    if letter.home is None:
        raise ValueError(f"{letter.name} does not say where its record came from")
    return letter.home


def _by(lot: Iterable[Letter], place_of: Callable[[Letter], TopicPartition]) -> Mapping[TopicPartition, list[Letter]]:
    lots: dict[TopicPartition, list[Letter]] = {}
    for letter in lot:
        lots.setdefault(place_of(letter), []).append(letter)
    return lots
