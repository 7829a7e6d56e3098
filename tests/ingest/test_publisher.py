"""I1: a job is published in order, and nothing is responded before all of it is acknowledged."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.producer import OnSettled, ProducerRecord
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import REPOSITORY
from services.ingest.adapters.publisher import JOB_EVENTS, KafkaPublisher
from services.ingest.flows.accept import JobAccepted, accept
from services.ingest.wire import Encoder
from tests.chassis.eventually import until
from tests.ingest.fakes import Charged, Journal, a_return, an_import_request, fake_deps, order
from tests.ingest.sent_batches import decode_batch

SCHEMAS = Schemas.load(REPOSITORY / "schemas")
ORDERS = "orders.submitted.v1"


class FakeProducer:
    """Journals when records are sent and when they are acknowledged."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.sent: list[tuple[str, int | None, Sequence[ProducerRecord]]] = []
        self.gates = {JOB_EVENTS: asyncio.Event(), ORDERS: asyncio.Event()}
        self.unavailable: set[str] = set()
        for event in self.gates.values():
            event.set()

    async def partitions(self, topic: str) -> int:
        return 12 if topic else 0

    def known_partitions(self, topic: str) -> int | None:
        return 12 if topic else None

    async def partition_for_key(self, topic: str, key: bytes) -> int:
        return (len(topic) + len(key)) % 12

    def leader(self, topic: str, partition: int) -> int | None:
        return 0 if topic and partition >= 0 else None

    def send_nowait(self, topic: str, partition: int, records: Sequence[bytes], on_settled: OnSettled) -> None:
        sending = asyncio.create_task(self._send(topic, partition, decode_batch(records)))
        sending.add_done_callback(lambda sent: on_settled(sent.exception()))  # type: ignore[arg-type]

    async def send_encoded(self, topic: str, partition: int, records: Sequence[bytes]) -> None:
        await self._send(topic, partition, decode_batch(records))

    async def _send(self, topic: str, partition: int | None, records: Sequence[ProducerRecord]) -> None:
        self.journal.append(f"{topic} sent")
        self.sent.append((topic, partition, list(records)))
        if topic in self.gates:
            await self.gates[topic].wait()
        if topic in self.unavailable:
            raise UnavailableError("Kafka")
        self.journal.append(f"{topic} acknowledged")


@pytest.fixture
def journal() -> Journal:
    return []


@pytest.fixture
def producer(journal: Journal) -> FakeProducer:
    return FakeProducer(journal)


async def respond(body: Any, journal: Journal, producer: FakeProducer, **changes: Any) -> JobAccepted:
    publisher = KafkaPublisher(producer, Encoder(SCHEMAS))  # type: ignore[arg-type]
    outcome = await accept(an_import_request(body, **changes), fake_deps(journal, publisher=publisher))
    assert isinstance(outcome, JobAccepted)
    journal.append("responded")
    return outcome


async def test_what_is_refused_is_on_record_before_anything_else_happens(
    journal: Journal, producer: FakeProducer
) -> None:
    await respond([order(), order(id="o2", lineItems=[])], journal, producer)
    assert journal == [
        Charged(2),
        f"{JOB_EVENTS} sent",
        f"{JOB_EVENTS} acknowledged",
        f"{ORDERS} sent",
        f"{ORDERS} acknowledged",
        "responded",
    ]


@pytest.mark.parametrize("late", [JOB_EVENTS, ORDERS])
@pytest.mark.parametrize("count", [1, 2])
async def test_nothing_is_answered_before_both_are_acknowledged(
    journal: Journal, producer: FakeProducer, late: str, count: int
) -> None:
    producer.gates[late].clear()
    records = [order(id=str(number)) for number in range(count)]
    responding = asyncio.create_task(respond(records, journal, producer))
    await until(lambda: len([entry for entry in journal if "acknowledged" in str(entry)]) == 1)
    assert not responding.done()
    producer.gates[late].set()
    await responding
    assert journal[-2:] == [f"{late} acknowledged", "responded"]


async def test_a_job_of_bad_records_is_its_opening_alone(journal: Journal, producer: FakeProducer) -> None:
    await respond([order(lineItems=[])], journal, producer)
    assert journal[1:] == [f"{JOB_EVENTS} sent", f"{JOB_EVENTS} acknowledged", "responded"]


@pytest.mark.parametrize("topic", [JOB_EVENTS, ORDERS])
@pytest.mark.parametrize("records", [[order()], [order(), order(id="o2")], [order(), order(id="o2", lineItems=[])]])
async def test_either_one_away_is_an_unknown_outcome(
    journal: Journal, producer: FakeProducer, topic: str, records: Any
) -> None:
    producer.unavailable.add(topic)
    with pytest.raises(UnavailableError):
        await respond(records, journal, producer)
    assert "responded" not in journal


async def test_without_the_opening_of_refusals_no_record_goes_out(journal: Journal, producer: FakeProducer) -> None:
    producer.unavailable.add(JOB_EVENTS)
    with pytest.raises(UnavailableError):
        await respond([order(), order(id="o2", lineItems=[])], journal, producer)
    assert [topic for topic, _, _ in producer.sent] == [JOB_EVENTS]


async def test_a_request_is_one_batch_in_order(journal: Journal, producer: FakeProducer) -> None:
    records = [order(id=f"o|{number}", lineItems=[] if number == 3 else order()["lineItems"]) for number in range(7)]
    outcome = await respond(records, journal, producer, traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01")
    topic, _, batch = producer.sent[-1]
    job = outcome.job.header.job_id.encode()
    assert topic == ORDERS
    assert [record.key for record in batch] == [b"608||o%%7C%d" % number for number in (0, 1, 2, 4, 5, 6)]
    assert [dict(record.headers)["index"] for record in batch] == [b"0", b"1", b"2", b"4", b"5", b"6"]
    first = dict(batch[0].headers)
    assert (first["site"], first["jobId"], first["total"]) == (b"608", job, b"7")
    assert (first["traceparent"] or b"").startswith(b"00-1111")
    _, _, (opening, *_) = producer.sent[0]
    assert dict(opening.headers) == {"traceparent": first["traceparent"]}


async def test_returns_have_a_topic_of_their_own(journal: Journal, producer: FakeProducer) -> None:
    await respond([a_return(), a_return(returnId="r2")], journal, producer)
    assert {topic for topic, _, _ in producer.sent} == {JOB_EVENTS, "returns.submitted.v1"}


async def test_single_records_that_wait_share_a_batch(journal: Journal, producer: FakeProducer) -> None:
    """The first is sent at once; those submitted while it is in flight share a batch."""
    publisher = KafkaPublisher(producer, Encoder(SCHEMAS))  # type: ignore[arg-type]
    producer.gates[ORDERS].clear()
    deps = fake_deps(journal, publisher=publisher)
    puts = [asyncio.create_task(accept(an_import_request(order(id=str(number))), deps)) for number in range(20)]
    await until(lambda: sum(len(records) for topic, _, records in producer.sent if topic == JOB_EVENTS) == 20)
    producer.gates[ORDERS].set()
    assert all(isinstance(outcome, JobAccepted) for outcome in await asyncio.gather(*puts))
    batches = [records for topic, _, records in producer.sent if topic == ORDERS]
    assert sum(map(len, batches)) == 20
    assert len(batches) <= 2
    assert len({partition for topic, partition, _ in producer.sent if topic == ORDERS}) == len(batches)
