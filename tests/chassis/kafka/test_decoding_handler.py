"""Records are decoded, applied together, and only then may their offsets be committed."""

from collections.abc import Iterable, Sequence

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetter
from services.chassis.kafka.decoding_handler import DecodingHandler
from services.chassis.runtime.errors import UnavailableError

FIRST, SECOND = TopicPartition("things", 0), TopicPartition("things", 1)


class IntegerHandler(DecodingHandler[int]):
    """Decodes numbers, and writes what happens to a journal."""

    def __init__(self, *, max_consecutive: int = 2) -> None:
        limit = DeadLetterLimit(max_consecutive=max_consecutive, window=100, max_ratio=0.9)
        super().__init__(dead_letters=self, dead_letter_limit=limit)
        self.limit = limit
        self.journal: list[tuple[str, list[object]]] = []
        self.is_unavailable = False
        self.is_kafka_away = False

    def decode(self, record: ConsumerRecord) -> int:
        return int(record.value)

    async def apply(self, decoded: Sequence[int]) -> None:
        if self.is_unavailable:
            raise UnavailableError("MongoDB")
        self.journal.append(("applied", list(decoded)))

    async def send(self, letters: Iterable[DeadLetter]) -> None:
        if self.is_kafka_away:
            raise UnavailableError("Kafka")
        self.journal.append(("dead", [letter.record.value for letter in letters]))


def records(*values: bytes, offset: int = 5) -> list[ConsumerRecord]:
    return [
        ConsumerRecord("things", 0, offset + number, 0, 0, b"k", value, None, 0, 0, ())
        for number, value in enumerate(values)
    ]


async def test_records_of_all_partitions_are_applied_together() -> None:
    handler = IntegerHandler()
    offsets = await handler.handle({FIRST: records(b"1", b"2"), SECOND: records(b"3", offset=70)})
    assert handler.journal == [("applied", [1, 2, 3])]
    assert offsets == {FIRST: 7, SECOND: 71}


async def test_what_cannot_be_decoded_is_dead_lettered_last() -> None:
    """Applying may be repeated; letters that are sent again appear twice."""
    handler = IntegerHandler()
    offsets = await handler.handle({FIRST: records(b"1", b"x", b"2")})
    assert handler.journal == [("applied", [1, 2]), ("dead", [b"x"])]
    assert offsets == {FIRST: 8}


async def test_a_partition_with_too_many_is_halted_until_it_is_revoked() -> None:
    handler = IntegerHandler()
    poll = {FIRST: records(b"x", b"y", b"z", b"1"), SECOND: records(b"3")}
    assert await handler.handle(poll) == {FIRST: 7, SECOND: 6}
    assert handler.journal == [("applied", [3]), ("dead", [b"x", b"y"])]
    assert set(handler.limit.halted) == {FIRST}
    handler.on_revoked([FIRST])
    assert set(handler.limit.halted) == set()


async def test_a_poll_that_was_not_applied_is_repeated_whole() -> None:
    """Its dead letters are sent once, and the limit counts them once."""
    handler = IntegerHandler()
    handler.is_unavailable = True
    poll = {FIRST: records(b"x", b"y", b"1")}
    for _ in range(3):
        with pytest.raises(UnavailableError):
            await handler.handle(poll)
    handler.is_unavailable = False
    assert await handler.handle(poll) == {FIRST: 8}
    assert handler.journal == [("applied", [1]), ("dead", [b"x", b"y"])]


async def test_nothing_may_be_committed_before_the_dead_letters_are_acknowledged() -> None:
    handler = IntegerHandler()
    handler.is_kafka_away = True
    poll = {FIRST: records(b"x", b"1")}
    with pytest.raises(UnavailableError, match="Kafka"):
        await handler.handle(poll)
    handler.is_kafka_away = False
    assert await handler.handle(poll) == {FIRST: 7}
    assert handler.journal == [("applied", [1]), ("applied", [1]), ("dead", [b"x"])]


async def test_an_empty_poll_changes_nothing() -> None:
    handler = IntegerHandler()
    assert await handler.handle({FIRST: []}) == {}
    assert handler.journal == [("applied", [])]
