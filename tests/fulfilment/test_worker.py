"""Events in, committable offsets out: every placed transaction is fulfilled, whatever the partition also holds."""

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

CODEC = EventCodec(SCHEMAS)
TOPIC = "fulfilment.transactions.v1"
PARTITION, OTHER_PARTITION = TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)
JUNK = b"a code: SECRET-CODE"


@dataclass
class WorkerHarness:
    """A worker whose fakes write one journal."""

    journal: list[str] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    unavailable: set[str] = field(default_factory=set)
    defective: set[str] = field(default_factory=set)
    dead_letter_limit: DeadLetterLimit = field(
        default_factory=lambda: DeadLetterLimit(max_consecutive=3, window=100, max_ratio=0.5)
    )

    async def fulfil(self, transaction_id: str) -> None:
        await asyncio.sleep(0)
        if transaction_id in self.unavailable:
            raise UnavailableError("MongoDB")
        if transaction_id in self.defective:
            raise ZeroDivisionError
        self.journal.append(f"fulfilled {transaction_id}")

    async def send(self, letters: Iterable[DeadLetter]) -> None:
        if "letters" in self.unavailable:
            raise UnavailableError("Kafka")
        self.letters += letters
        self.journal.append("letters sent")

    async def handle(self, *values: bytes | None, partition: TopicPartition = PARTITION, offset: int = 7) -> None:
        worker = Worker(self.fulfil, codec=CODEC, dead_letters=self, dead_letter_limit=self.dead_letter_limit)
        records = [a_record(value, partition, offset + n) for n, value in enumerate(values)]
        offsets = await worker.handle({partition: records})
        self.journal += [f"committed {offset}" for offset in offsets.values()]


def a_record(value: bytes | None, partition: TopicPartition, offset: int) -> ConsumerRecord:
    return ConsumerRecord(
        partition.topic, partition.partition, offset, 0, 0, b"key", value, None, 3, len(value or b""), ()
    )


@pytest.fixture
def worker_harness() -> WorkerHarness:
    return WorkerHarness()


@pytest.fixture
async def events(memory_harness: Harness) -> dict[str, bytes]:
    """The events of three placed transactions by id."""
    placed = [(await memory_harness.place(("CARD", 1), transaction_id=name)).transaction for name in ("a", "b", "c")]
    return {transaction.id: CODEC.order_placed(transaction).value or b"" for transaction in placed}


async def test_offsets_are_committable_once_every_transaction_was_looked_at(
    worker_harness: WorkerHarness, events: dict[str, bytes]
) -> None:
    await worker_harness.handle(events["a"], events["b"], events["c"])
    assert worker_harness.journal == ["fulfilled a", "fulfilled b", "fulfilled c", "committed 10"]


async def test_an_event_that_came_twice_is_looked_at_once(
    worker_harness: WorkerHarness, events: dict[str, bytes]
) -> None:
    await worker_harness.handle(events["a"], events["b"], events["a"])
    assert worker_harness.journal == ["fulfilled a", "fulfilled b", "committed 10"]


async def test_an_empty_poll_changes_nothing(worker_harness: WorkerHarness) -> None:
    await worker_harness.handle()
    assert worker_harness.journal == []


async def test_nothing_is_committed_while_the_store_is_unavailable(
    worker_harness: WorkerHarness, events: dict[str, bytes]
) -> None:
    worker_harness.unavailable = {"b"}
    with pytest.raises(UnavailableError):
        await worker_harness.handle(events["a"], events["b"], events["c"])
    assert worker_harness.journal == ["fulfilled a", "fulfilled c"]
    worker_harness.unavailable = set()
    await worker_harness.handle(events["a"], events["b"], events["c"])
    assert worker_harness.journal[-1] == "committed 10"


async def test_a_defect_in_one_does_not_hold_up_the_others(
    worker_harness: WorkerHarness, events: dict[str, bytes]
) -> None:
    """It stays due, and the sweeper retries it."""
    worker_harness.defective = {"a"}
    await worker_harness.handle(events["a"], events["b"])
    assert worker_harness.journal == ["fulfilled b", "committed 9"]


async def test_what_cannot_be_read_becomes_a_dead_letter_that_quotes_nothing(
    worker_harness: WorkerHarness, events: dict[str, bytes]
) -> None:
    good = events["a"]
    await worker_harness.handle(JUNK, good, None, b"", good + b"\0", good, good[:-1])
    assert worker_harness.journal == ["fulfilled a", "letters sent", "committed 14"]
    assert [letter.record.offset for letter in worker_harness.letters] == [7, 9, 10, 11, 13]
    assert {letter.reason for letter in worker_harness.letters} == {"undecodable"}
    assert not any("SECRET-CODE" in letter.detail for letter in worker_harness.letters)


async def test_nothing_is_committable_before_its_dead_letter_is_safe(
    worker_harness: WorkerHarness, events: dict[str, bytes]
) -> None:
    worker_harness.unavailable = {"letters"}
    with pytest.raises(UnavailableError):
        await worker_harness.handle(JUNK, events["a"])
    assert worker_harness.journal == ["fulfilled a"]


async def test_a_partition_of_junk_is_halted_and_the_others_go_on(
    worker_harness: WorkerHarness, events: dict[str, bytes]
) -> None:
    await worker_harness.handle(events["a"], *[JUNK] * 5, events["b"])
    assert worker_harness.journal == ["fulfilled a", "letters sent", "committed 11"]
    assert len(worker_harness.letters) == 3
    assert set(worker_harness.dead_letter_limit.halted) == {PARTITION}
    await worker_harness.handle(events["c"], partition=OTHER_PARTITION)
    assert worker_harness.journal[-2:] == ["fulfilled c", "committed 8"]
    await worker_harness.handle(JUNK, events["b"], offset=11)
    assert worker_harness.journal[-1] == "committed 8"


async def test_a_member_that_gets_a_halted_partition_judges_for_itself(
    worker_harness: WorkerHarness, events: dict[str, bytes]
) -> None:
    await worker_harness.handle(*[JUNK] * 5)
    Worker(
        worker_harness.fulfil,
        codec=CODEC,
        dead_letters=worker_harness,
        dead_letter_limit=worker_harness.dead_letter_limit,
    ).on_revoked([PARTITION])
    await worker_harness.handle(events["a"], offset=12)
    assert worker_harness.journal[-1] == "committed 13"


async def test_a_transaction_is_looked_at_as_soon_as_it_is_placed(
    memory_harness: Harness, worker_harness: WorkerHarness
) -> None:
    placed = (await memory_harness.place(("DEMO-INSTANT", 2))).transaction
    worker = Worker(
        memory_harness.fulfil,
        codec=CODEC,
        dead_letters=worker_harness,
        dead_letter_limit=worker_harness.dead_letter_limit,
    )
    await worker.handle({PARTITION: [a_record(CODEC.order_placed(placed).value, PARTITION, 0)]})
    assert (await memory_harness.transactions.find(placed.id)).status is TransactionStatus.COMPLETED
