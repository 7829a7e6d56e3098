"""Events in, committable offsets out: every placed transaction is looked at, whatever lies beside it."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetter
from services.chassis.runtime.errors import UnavailableError
from services.fulfilment.domain.transaction import TransactionStatus
from services.fulfilment.wire.events import EventCodec
from services.fulfilment.worker import Worker
from tests.fulfilment.harness import SCHEMAS, Harness

EVENTS = EventCodec(SCHEMAS)
TOPIC = "fulfilment.transactions.v1"
PLACE, OTHER_PLACE = TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)
JUNK = b"a code: SECRET-CODE"


@dataclass
class Bench:
    """A worker whose world writes one journal."""

    journal: list[str] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    away: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    brake: DeadLetterLimit = field(
        default_factory=lambda: DeadLetterLimit(max_consecutive=3, window=100, max_ratio=0.5)
    )

    async def fulfil(self, transaction_id: str) -> None:
        await asyncio.sleep(0)
        if transaction_id in self.away:
            raise UnavailableError("MongoDB")
        if transaction_id in self.broken:
            raise ZeroDivisionError
        self.journal.append(f"fulfilled {transaction_id}")

    async def send(self, letters: Iterable[DeadLetter]) -> None:
        if "letters" in self.away:
            raise UnavailableError("Kafka")
        self.letters += letters
        self.journal.append("letters sent")

    async def handle(self, *values: bytes | None, place: TopicPartition = PLACE, offset: int = 7) -> None:
        worker = Worker(self.fulfil, codec=EVENTS, dead_letters=self, dead_letter_limit=self.brake)
        records = [a_record(value, place, offset + n) for n, value in enumerate(values)]
        offsets = await worker.handle({place: records})
        self.journal += [f"committed {offset}" for offset in offsets.values()]


def a_record(value: bytes | None, place: TopicPartition, offset: int) -> ConsumerRecord:
    return ConsumerRecord(place.topic, place.partition, offset, 0, 0, b"key", value, None, 3, len(value or b""), ())


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
async def events(memory_harness: Harness) -> dict[str, bytes]:
    """The events of three placed transactions, by their ids."""
    placed = [(await memory_harness.place(("CARD", 1), transaction_id=name)).transaction for name in ("a", "b", "c")]
    return {one.id: EVENTS.order_placed(one).value or b"" for one in placed}


async def test_offsets_are_given_up_once_every_transaction_was_looked_at(
    bench: Bench, events: dict[str, bytes]
) -> None:
    await bench.handle(events["a"], events["b"], events["c"])
    assert bench.journal == ["fulfilled a", "fulfilled b", "fulfilled c", "committed 10"]


async def test_an_event_that_came_twice_is_looked_at_once(bench: Bench, events: dict[str, bytes]) -> None:
    await bench.handle(events["a"], events["b"], events["a"])
    assert bench.journal == ["fulfilled a", "fulfilled b", "committed 10"]


async def test_an_empty_poll_changes_nothing(bench: Bench) -> None:
    await bench.handle()
    assert bench.journal == []


async def test_nothing_is_committed_while_the_store_is_away(bench: Bench, events: dict[str, bytes]) -> None:
    bench.away = {"b"}
    with pytest.raises(UnavailableError):
        await bench.handle(events["a"], events["b"], events["c"])
    assert bench.journal == ["fulfilled a", "fulfilled c"]
    bench.away = set()
    await bench.handle(events["a"], events["b"], events["c"])
    assert bench.journal[-1] == "committed 10"


async def test_a_defect_in_one_does_not_hold_up_the_others(bench: Bench, events: dict[str, bytes]) -> None:
    """It is still due: the sweeper tries it again."""
    bench.broken = {"a"}
    await bench.handle(events["a"], events["b"])
    assert bench.journal == ["fulfilled b", "committed 9"]


async def test_what_cannot_be_read_becomes_a_dead_letter_that_quotes_nothing(
    bench: Bench, events: dict[str, bytes]
) -> None:
    good = events["a"]
    await bench.handle(JUNK, good, None, b"", good + b"\0", good, good[:-1])
    assert bench.journal == ["letters sent", "fulfilled a", "committed 14"]
    assert [letter.record.offset for letter in bench.letters] == [7, 9, 10, 11, 13]
    assert {letter.reason for letter in bench.letters} == {"undecodable"}
    assert not any("SECRET-CODE" in letter.detail for letter in bench.letters)


async def test_nothing_is_given_up_before_its_dead_letter_is_safe(bench: Bench, events: dict[str, bytes]) -> None:
    bench.away = {"letters"}
    with pytest.raises(UnavailableError):
        await bench.handle(JUNK, events["a"])
    assert bench.journal == []


async def test_a_partition_of_junk_is_stopped_and_the_others_go_on(bench: Bench, events: dict[str, bytes]) -> None:
    await bench.handle(events["a"], *[JUNK] * 5, events["b"])
    assert bench.journal == ["letters sent", "fulfilled a", "committed 11"]
    assert len(bench.letters) == 3
    assert set(bench.brake.halted) == {PLACE}
    await bench.handle(events["c"], place=OTHER_PLACE)
    assert bench.journal[-2:] == ["fulfilled c", "committed 8"]
    await bench.handle(JUNK, events["b"], offset=11)
    assert bench.journal[-1] == "committed 8"


async def test_whoever_gets_a_stopped_partition_looks_for_himself(bench: Bench, events: dict[str, bytes]) -> None:
    await bench.handle(*[JUNK] * 5)
    Worker(bench.fulfil, codec=EVENTS, dead_letters=bench, dead_letter_limit=bench.brake).on_revoked([PLACE])
    await bench.handle(events["a"], offset=12)
    assert bench.journal[-1] == "committed 13"


async def test_a_transaction_is_looked_at_as_soon_as_it_is_placed(memory_harness: Harness, bench: Bench) -> None:
    placed = (await memory_harness.place(("DEMO-INSTANT", 2))).transaction
    worker = Worker(memory_harness.fulfil, codec=EVENTS, dead_letters=bench, dead_letter_limit=bench.brake)
    await worker.handle({PLACE: [a_record(EVENTS.order_placed(placed).value, PLACE, 0)]})
    assert (await memory_harness.transactions.find(placed.id)).status is TransactionStatus.COMPLETED
