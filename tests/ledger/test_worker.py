"""The worker: what it records, dead-letters and commits."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from services import topics
from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.consumer_client import create_client
from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetter
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import REPOSITORY, KafkaSettings
from services.ledger.adapters.ledger import MongoLedger, MongoTransaction
from services.ledger.domain.movement import GroupChange
from services.ledger.flows import record_sales
from services.ledger.flows.record_sales import MAX_LINES_PER_GROUP
from services.ledger.ports import EntryTooLargeError
from services.ledger.wire.records import RecordReader
from services.ledger.worker import Worker
from services.sales.records import Order, SalesRecord
from services.sales.wire import order_codec, return_codec
from tests.ledger.harness import Harness
from tests.ledger.records import a_return, an_order

SCHEMAS = Schemas.load(REPOSITORY / "schemas")
ORDERS, RETURNS = topics.ORDERS_VALIDATED.name, topics.RETURNS_VALIDATED.name
SITE = 77


def encoded(record: SalesRecord) -> bytes:
    schema = SCHEMAS["order" if isinstance(record, Order) else "return"]
    codec: Any = (order_codec if isinstance(record, Order) else return_codec)(schema.definition, prefix=schema.prefix)
    value: bytes = codec.encode(record)
    return value


def a_record(value: bytes | None, offset: int, *, topic: str = ORDERS, partition: int = 3) -> ConsumerRecord:
    return ConsumerRecord(topic, partition, offset, 0, 0, b"key", value, None, 0, 0, ())


class FakeDeadLetters:
    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []

    async def send(self, letters: Iterable[DeadLetter]) -> None:
        self.letters += letters


class Setup:
    """A worker with what it uses."""

    def __init__(self, harness: Harness, *, max_consecutive: int = 10) -> None:
        self.harness = harness
        self.dead_letters = FakeDeadLetters()
        self.limit = DeadLetterLimit(max_consecutive=max_consecutive, window=100, max_ratio=0.5)
        self.worker = Worker(
            harness.record_deps,
            reader=RecordReader(SCHEMAS),
            dead_letters=self.dead_letters,
            dead_letter_limit=self.limit,
            add_partitions=harness.ledger.add_partitions,
        )

    async def handle(self, *records: ConsumerRecord) -> dict[tuple[str, int], int]:
        poll: dict[TopicPartition, list[ConsumerRecord]] = {}
        for record in records:
            poll.setdefault(TopicPartition(record.topic, record.partition), []).append(record)
        offsets = await self.worker.handle(poll)
        return {(partition.topic, partition.partition): offset for partition, offset in offsets.items()}


class FakeCluster:
    """Twelve partitions of each topic."""

    def partitions_for_topic(self, _topic: str) -> set[int]:
        return set(range(12))


@pytest.mark.parametrize("count", [1, 2, 5, 12])
async def test_a_partition_number_of_both_topics_has_one_consumer(count: int) -> None:
    """Orders and returns of one key are in partitions of the same number: one writer changes their entries."""
    settings = KafkaSettings.model_validate({"kafka_bootstrap_servers": "127.0.0.1:1"})
    client = create_client(settings, group="ledger", client_id="ledger", poll_timeout_ms=50)
    await client.stop()
    assignor, *_ = client._partition_assignment_strategy
    members = {f"m{number}": assignor.metadata({ORDERS, RETURNS}) for number in range(count)}
    numbers = []
    for assigned in assignor.assign(FakeCluster(), members).values():
        by_topic = {topic: sorted(partitions) for topic, partitions in assigned.assignment}
        assert by_topic[ORDERS] == by_topic[RETURNS]
        numbers += by_topic[ORDERS]
    assert sorted(numbers) == list(range(12))


async def test_orders_and_returns_are_recorded_and_then_committed(harness: Harness) -> None:
    setup = Setup(harness)
    offsets = await setup.handle(
        a_record(encoded(a_return(site=SITE)), 5, topic=RETURNS), a_record(encoded(an_order(site=SITE)), 8, partition=4)
    )
    assert offsets == {(RETURNS, 3): 6, (ORDERS, 4): 9}
    (entry,) = await harness.find(SITE, "13")
    assert entry.state == "PARTLY_RETURNED"
    assert await setup.handle() == {}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "unknown-framing"),
        (b"{}", "unknown-framing"),
        (b"\0\0\0\0\2x", "unknown-schema"),
        (b"\0\0\0\1\0x", "unknown-schema"),
        (SCHEMAS["order"].prefix + b"\x01", "undecodable"),
    ],
)
async def test_a_malformed_record_becomes_a_dead_letter_and_the_others_are_recorded(
    harness: Harness, value: bytes | None, reason: str
) -> None:
    setup = Setup(harness)
    order = an_order(f"after {reason}", site=SITE)
    assert await setup.handle(a_record(value, 1), a_record(encoded(order), 2)) == {(ORDERS, 3): 3}
    assert [(letter.record.offset, letter.reason) for letter in setup.dead_letters.letters] == [(1, reason)]
    assert await harness.find(SITE, order.id)


async def test_a_partition_of_dead_letters_is_halted_and_the_others_go_on(harness: Harness) -> None:
    setup = Setup(harness, max_consecutive=2)
    bad = [a_record(b"bad", offset) for offset in range(5)]
    good = a_record(encoded(an_order("other partition", site=SITE)), 0, partition=9)
    assert await setup.handle(*bad, good) == {(ORDERS, 3): 2, (ORDERS, 9): 1}
    assert setup.limit.halted == {TopicPartition(ORDERS, 3)}
    setup.worker.on_revoked([TopicPartition(ORDERS, 3)])
    assert not setup.limit.halted


async def test_a_record_that_makes_its_entry_too_large_becomes_a_dead_letter(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is MongoDB's; here it is three returns."""
    save = MongoTransaction.save

    async def save_small(self: MongoTransaction, changes: Sequence[GroupChange]) -> None:
        if any(len(change.group.returns) > 3 for change in changes):
            raise EntryTooLargeError("too large")
        await save(self, changes)

    monkeypatch.setattr(MongoTransaction, "save", save_small)
    setup = Setup(harness)
    returns = [encoded(a_return(f"r{number}", order_id="huge", site=SITE)) for number in range(9)]
    records = [a_record(value, offset, topic=RETURNS) for offset, value in enumerate(returns)]
    offsets = await setup.handle(*records, a_record(encoded(an_order("small", site=SITE)), 0))
    assert offsets == {(RETURNS, 3): 9, (ORDERS, 3): 1}
    assert [(letter.record.offset, letter.reason) for letter in setup.dead_letters.letters] == [
        (offset, "too-big") for offset in range(3, 9)
    ]
    (entry,) = await harness.find(SITE, "huge")
    assert [each.return_id for each in entry.returns] == ["r0", "r1", "r2"]
    assert await harness.find(SITE, "small")


async def test_an_order_id_has_a_bounded_number_of_lines(harness: Harness) -> None:
    """I8. Breaks: a site sends orders with one id in many channels, all of which are loaded with each of them."""
    lines = [("p1", 1, "1")] * 500
    fitting = MAX_LINES_PER_GROUP // 500
    returns = [a_return(f"{n:02}", order_id="full", site=SITE, lines=lines) for n in range(fitting)]
    await harness.record(*returns)
    with pytest.raises(EntryTooLargeError):
        await harness.record(an_order("full", site=SITE))
    await harness.record(a_return("00", order_id="full", site=SITE, at=9, lines=lines[1:]))
    await harness.record(an_order("full", site=SITE))
    (entry,) = await harness.find(SITE, "full")
    assert len(entry.returns) == fitting


async def test_mongodbs_own_limit_is_recognised(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_sales, "MAX_LINES_PER_GROUP", 10**9)
    lines = [(f"{'p' * 120}{number}", 1, "1") for number in range(500)]
    returns = [a_return(f"{n}", order_id="largest", site=SITE, lines=lines) for n in range(260)]
    with pytest.raises(EntryTooLargeError):
        await harness.record(*returns)
    assert await harness.find(SITE, "largest") == []


class BrokenLedger(MongoLedger):
    """A store that is away."""

    def transaction(self) -> Any:
        raise UnavailableError("MongoDB")


async def test_nothing_is_committed_while_the_store_is_away(harness: Harness) -> None:
    setup = Setup(Harness(harness.mongo, ledger=BrokenLedger))
    with pytest.raises(UnavailableError):
        await setup.handle(a_record(encoded(an_order("away", site=SITE)), 1))
    assert await harness.find(SITE, "away") == []
