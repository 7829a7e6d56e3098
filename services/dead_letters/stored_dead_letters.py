"""Finds dead letters and replays them to the topics and partitions they came from."""

import re
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from enum import StrEnum

from aiokafka import ConsumerRecord, TopicPartition

from services.chassis.kafka import dead_letters as dlq
from services.chassis.kafka.producer import Headers, Producer, ProducerRecord
from services.chassis.kafka.read_topic import ALL, ReadRange, read_to_end
from services.chassis.runtime.settings import KafkaSettings
from services.topics import TOPICS

DLQ_TOPICS = tuple(topic.name for topic in TOPICS if topic.name.endswith(dlq.SUFFIX))

# A dead letter cannot be changed: a later record of its partition, a marker, carries its replay state.
REPLAY_MARKER, MARKED_OFFSET = "dlq.mark", "dlq.marked-offset"
# Header of a replayed record: the name of its dead letter. Shows after a crash which records were already sent.
REPLAYED_FROM = "dlq.replayed-from"
# Header of a marker: the replay that set it, if it has a name.
MARKED_BY = "dlq.marked-by"
BATCH_SIZE = 200
MAX_BATCH_BYTES = 8 * 1024 * 1024
_PARTITION_PATTERN = re.compile("[0-9]{1,9}")
_OFFSET, _OFFSET_PATTERN = re.compile("[0-9]{1,18}"), re.compile(b"[0-9]{1,19}")


class ReplayState(StrEnum):
    """How far the replay of a dead letter got."""

    OPEN = "open"
    # Started; only the original topic shows whether the record arrived.
    REPLAYING = "replaying"
    REPLAYED = "replayed"


_STATE_BY_VALUE = {state.encode(): state for state in ReplayState}


@dataclass(frozen=True, slots=True)
class StoredDeadLetter:
    """One dead letter, identified by `topic`, `partition` and `offset`."""

    topic: str
    partition: int
    offset: int
    failed_at_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    state: ReplayState = ReplayState.OPEN
    replay_started_ms: int = 0
    # The replay that has sent it, if it has a name.
    replayed_by: str = ""

    @property
    def name(self) -> str:
        """Its identifier on the command line."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    def header(self, name: str) -> str:
        """Return a header as text; empty if it is missing."""
        return (dict(self.headers).get(name) or b"").decode("utf-8", "replace")

    @property
    def source(self) -> str:
        """Topic, partition and offset of the original record."""
        names = (dlq.ORIGINAL_TOPIC, dlq.ORIGINAL_PARTITION, dlq.ORIGINAL_OFFSET)
        return "/".join(self.header(name) for name in names)

    @property
    def destination(self) -> TopicPartition | None:
        """Where a replay sends the record; None if the headers are missing, invalid or name another topic."""
        topic, partition = self.header(dlq.ORIGINAL_TOPIC), self.header(dlq.ORIGINAL_PARTITION)
        is_valid = topic + dlq.SUFFIX == self.topic and _PARTITION_PATTERN.fullmatch(partition)
        return TopicPartition(topic, int(partition)) if is_valid else None

    @property
    def is_whole(self) -> bool:
        """Whether it holds the whole record, not a truncated one."""
        return not self.header(dlq.TRUNCATED)

    @property
    def is_replayable(self) -> bool:
        """Whether the record can be sent back and has not been yet."""
        return self.is_whole and self.destination is not None and self.state is not ReplayState.REPLAYED


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """Selects dead letters; an empty criterion matches all."""

    reasons: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None

    def matches(self, letter: StoredDeadLetter) -> bool:
        """Return whether the dead letter meets all criteria."""
        return (
            (not self.reasons or letter.header(dlq.REASON) in self.reasons)
            and (not self.topics or letter.header(dlq.ORIGINAL_TOPIC) in self.topics)
            and (not self.groups or letter.header(dlq.CONSUMER_GROUP) in self.groups)
            and (not self.names or letter.name in self.names)
            and (self.since_ms is None or letter.failed_at_ms >= self.since_ms)
            and (self.until_ms is None or letter.failed_at_ms < self.until_ms)
        )


class TooManyLettersError(Exception):
    """More dead letters match than an index may hold."""


@dataclass(slots=True, kw_only=True)
class _LetterIndex:
    """Matching dead letters by topic, partition and offset, updated by the markers that follow them."""

    letter_filter: DeadLetterFilter = field(default_factory=DeadLetterFilter)
    has_records: bool = True
    max_letters: int | None = None
    letters: dict[tuple[str, int, int], StoredDeadLetter] = field(default_factory=dict)

    def add(self, record: ConsumerRecord) -> None:
        headers = dict(record.headers)
        if REPLAY_MARKER not in headers:
            self._add_letter(record)
            return
        offset, state = headers.get(MARKED_OFFSET) or b"", headers[REPLAY_MARKER] or b""
        # A foreign record may carry a header of the same name.
        if not (_OFFSET_PATTERN.fullmatch(offset) and state in _STATE_BY_VALUE):
            return
        identifier = (record.topic, record.partition, int(offset))
        letter = self.letters.get(identifier)
        if letter is not None:
            self.letters[identifier] = replace(
                letter,
                state=_STATE_BY_VALUE[state],
                replay_started_ms=letter.replay_started_ms or record.timestamp,
                replayed_by=(headers.get(MARKED_BY) or b"").decode("utf-8", "replace"),
            )

    def _add_letter(self, record: ConsumerRecord) -> None:
        letter = StoredDeadLetter(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            failed_at_ms=record.timestamp,
            key=record.key,
            value=record.value,
            headers=tuple(record.headers),
        )
        if not self.letter_filter.matches(letter):
            return
        if len(self.letters) == self.max_letters:
            raise TooManyLettersError
        if not self.has_records:
            headers = tuple(header for header in letter.headers if header[0].startswith(dlq.PREFIX))
            letter = replace(letter, key=None, value=None, headers=headers)
        self.letters[letter.topic, letter.partition, letter.offset] = letter


async def find_dead_letters(settings: KafkaSettings, letter_filter: DeadLetterFilter) -> list[StoredDeadLetter]:
    """Return the matching dead letters, oldest first. Raises `UnavailableError`."""
    index = _LetterIndex(letter_filter=letter_filter)
    await _read(settings, index, DLQ_TOPICS, ALL)
    return _sort(index)


async def find_dead_letter(settings: KafkaSettings, name: str) -> StoredDeadLetter | None:
    """Return one dead letter by its name; reads no record before it. Raises `UnavailableError`."""
    topic, _, position = name.partition("/")
    partition, _, offset = position.partition("/")
    if topic not in DLQ_TOPICS or not (_PARTITION_PATTERN.fullmatch(partition) and _OFFSET.fullmatch(offset)):
        return None
    index = _LetterIndex(letter_filter=DeadLetterFilter(names=frozenset({name})))
    starts = {TopicPartition(topic, int(partition)): int(offset)}
    await _read(settings, index, [topic], ReadRange(starts=starts))
    return next(iter(index.letters.values()), None)


async def index_dead_letters(
    settings: KafkaSettings, letter_filter: DeadLetterFilter, *, max_letters: int, newest: int | None = None
) -> tuple[list[StoredDeadLetter], bool]:
    """Return the matching dead letters without key and value, oldest first, and whether those are all.

    With `newest`, at most that many records are read; the state of what is found is right, since markers follow their
    dead letters. Raises `TooManyLettersError`, `UnavailableError`.
    """
    index = _LetterIndex(letter_filter=letter_filter, has_records=False, max_letters=max_letters)
    count = await _read(settings, index, DLQ_TOPICS, ReadRange(newest=newest))
    return _sort(index), newest is None or count < newest


async def _read(settings: KafkaSettings, index: _LetterIndex, topics: Sequence[str], read_range: ReadRange) -> int:
    count = 0
    async with aclosing(read_to_end(settings, topics, read_range)) as records:
        async for record in records:
            index.add(record)
            count += 1
    return count


def _sort(index: _LetterIndex) -> list[StoredDeadLetter]:
    return sorted(index.letters.values(), key=lambda letter: (letter.failed_at_ms, letter.name))


async def read_batches(
    settings: KafkaSettings, indexed: Iterable[StoredDeadLetter]
) -> AsyncGenerator[list[StoredDeadLetter], None]:
    """Yield indexed dead letters with key and value, in batches of bounded number and size.

    Those that have expired meanwhile are left out. Raises `UnavailableError`.
    """
    wanted = {(letter.topic, letter.partition, letter.offset): letter for letter in indexed}
    starts: dict[TopicPartition, int] = {}
    for topic, partition, offset in wanted:
        tp = TopicPartition(topic, partition)
        starts[tp] = min(offset, starts.get(tp, offset))
    if not wanted:
        return
    batch: list[StoredDeadLetter] = []
    size = 0
    topics = sorted({tp.topic for tp in starts})
    async with aclosing(read_to_end(settings, topics, ReadRange(starts=starts))) as records:
        async for record in records:
            letter = wanted.pop((record.topic, record.partition, record.offset), None)
            if letter is not None:
                batch.append(replace(letter, key=record.key, value=record.value, headers=tuple(record.headers)))
                size += len(record.value or b"")
            if len(batch) == BATCH_SIZE or size > MAX_BATCH_BYTES or (batch and not wanted):
                yield batch
                batch, size = [], 0
            if not wanted:
                return
    if batch:
        yield batch


async def replay(
    letters: Iterable[StoredDeadLetter], *, settings: KafkaSettings, producer: Producer, marked_by: str = ""
) -> int:
    """Send each replayable record back once and return their number. Raises `UnavailableError`; safe to repeat.

    Each batch is marked as started, sent, and marked as replayed. After a crash between the two marks, the original
    topics are searched for the records that arrived.
    """
    replayable = [letter for letter in letters if letter.is_replayable]
    interrupted = [letter for letter in replayable if letter.state is ReplayState.REPLAYING]
    already_replayed = await _find_already_replayed(settings, interrupted)
    arrived = [letter for letter in replayable if letter.name in already_replayed]
    await _publish_marks(producer, ReplayState.REPLAYED, arrived, marked_by)
    pending = [letter for letter in replayable if letter.name not in already_replayed]
    for start in range(0, len(pending), BATCH_SIZE):
        batch = pending[start : start + BATCH_SIZE]
        await _publish_marks(producer, ReplayState.REPLAYING, batch, marked_by)
        for partition, group in _group_by(batch, _require_destination).items():
            await producer.send_to(partition.topic, partition.partition, [_to_record(letter) for letter in group])
        await _publish_marks(producer, ReplayState.REPLAYED, batch, marked_by)
    return len(pending)


async def _find_already_replayed(settings: KafkaSettings, interrupted: Sequence[StoredDeadLetter]) -> set[str]:
    """Return the names of those dead letters whose records are in their original topics again."""
    if not interrupted:
        return set()
    names, found = {letter.name for letter in interrupted}, set()
    topics = sorted({_require_destination(letter).topic for letter in interrupted})
    since_ms = min(letter.replay_started_ms for letter in interrupted)
    async with aclosing(read_to_end(settings, topics, ReadRange(since_ms=since_ms))) as records:
        async for record in records:
            name = (dict(record.headers).get(REPLAYED_FROM) or b"").decode("utf-8", "replace")
            if name in names:
                found.add(name)
    return found


async def _publish_marks(
    producer: Producer, state: ReplayState, letters: Sequence[StoredDeadLetter], marked_by: str
) -> None:
    groups = _group_by(letters, lambda letter: TopicPartition(letter.topic, letter.partition))
    for partition, group in groups.items():
        await producer.send_to(
            partition.topic, partition.partition, [_to_marker(letter, state, marked_by) for letter in group]
        )


def _to_marker(letter: StoredDeadLetter, state: ReplayState, marked_by: str) -> ProducerRecord:
    headers = ((REPLAY_MARKER, state.encode()), (MARKED_OFFSET, str(letter.offset).encode()))
    return ProducerRecord(letter.key, None, (*headers, (MARKED_BY, marked_by.encode())) if marked_by else headers)


def _to_record(letter: StoredDeadLetter) -> ProducerRecord:
    """Return the original record, with headers for its attempts and its dead letter."""
    original = [(name, content) for name, content in letter.headers if not name.startswith(dlq.PREFIX)]
    attempts = (dlq.ATTEMPTS, letter.header(dlq.ATTEMPTS).encode())
    return ProducerRecord(letter.key, letter.value, (*original, attempts, (REPLAYED_FROM, letter.name.encode())))


def _require_destination(letter: StoredDeadLetter) -> TopicPartition:
    if letter.destination is None:
        raise ValueError(f"{letter.name} does not name its original topic and partition")
    return letter.destination


def _group_by(
    letters: Iterable[StoredDeadLetter], get_partition: Callable[[StoredDeadLetter], TopicPartition]
) -> Mapping[TopicPartition, list[StoredDeadLetter]]:
    groups: dict[TopicPartition, list[StoredDeadLetter]] = {}
    for letter in letters:
        groups.setdefault(get_partition(letter), []).append(letter)
    return groups
