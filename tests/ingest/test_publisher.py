"""I1, from the first byte: opened published → records published → answered; nothing before it is acknowledged."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.producer import ProducerRecord
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import REPOSITORY
from services.ingest.adapters.batcher import RecordBatcher
from services.ingest.adapters.publisher import JOB_EVENTS, KafkaPublisher
from services.ingest.flows.accept import JobAccepted, accept
from services.ingest.wire import Encoder
from tests.chassis.eventually import until
from tests.ingest.fakes import Charged, Journal, a_return, an_import_request, fake_deps, order

SCHEMAS = Schemas.load(REPOSITORY / "schemas")
ORDERS = "orders.submitted.v1"


class FakeProducer:
    """Kafka, as the publisher sees it: what was handed over, and when it was acknowledged, goes to the journal."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.sent: list[tuple[str, int | None, Sequence[ProducerRecord]]] = []
        self.gates = {JOB_EVENTS: asyncio.Event(), ORDERS: asyncio.Event()}
        self.unavailable: set[str] = set()
        for event in self.gates.values():
            event.set()

    async def partitions(self, topic: str) -> int:
        return 12 if topic else 0

    async def partition_for_key(self, topic: str, key: bytes) -> int:
        return (len(topic) + len(key)) % 12

    async def send(self, topic: str, record: ProducerRecord) -> None:
        await self._send(topic, None, [record])

    async def send_batch(self, topic: str, partition: int, records: Sequence[ProducerRecord]) -> None:
        await self._send(topic, partition, records)

    async def _send(self, topic: str, partition: int | None, records: Sequence[ProducerRecord]) -> None:
        self.journal.append(f"{topic} handed over")
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


async def respond(body: Any, journal: Journal, producer: FakeProducer, **how: Any) -> JobAccepted:
    publisher = KafkaPublisher(producer, Encoder(SCHEMAS))  # type: ignore[arg-type]
    outcome = await accept(an_import_request(body, **how), fake_deps(journal, publisher=publisher))
    assert isinstance(outcome, JobAccepted)
    journal.append("answered")
    return outcome


async def test_what_is_refused_is_on_record_before_anything_else_happens(
    journal: Journal, producer: FakeProducer
) -> None:
    await respond([order(), order(id="o2", lineItems=[])], journal, producer)
    assert journal == [
        Charged(2),
        f"{JOB_EVENTS} handed over",
        f"{JOB_EVENTS} acknowledged",
        f"{ORDERS} handed over",
        f"{ORDERS} acknowledged",
        "answered",
    ]


@pytest.mark.parametrize("late", [JOB_EVENTS, ORDERS])
@pytest.mark.parametrize("count", [1, 2])
async def test_nothing_is_answered_before_both_are_acknowledged(
    journal: Journal, producer: FakeProducer, late: str, count: int
) -> None:
    producer.gates[late].clear()
    records = [order(id=str(number)) for number in range(count)]
    answering = asyncio.create_task(respond(records, journal, producer))
    await until(lambda: len([entry for entry in journal if "acknowledged" in str(entry)]) == 1)
    assert not answering.done()
    producer.gates[late].set()
    await answering
    assert journal[-2:] == [f"{late} acknowledged", "answered"]


async def test_a_job_of_bad_records_is_its_opening_alone(journal: Journal, producer: FakeProducer) -> None:
    await respond([order(lineItems=[])], journal, producer)
    assert journal[1:] == [f"{JOB_EVENTS} handed over", f"{JOB_EVENTS} acknowledged", "answered"]


@pytest.mark.parametrize("away", [JOB_EVENTS, ORDERS])
@pytest.mark.parametrize("records", [[order()], [order(), order(id="o2")], [order(), order(id="o2", lineItems=[])]])
async def test_either_one_away_is_an_unknown_outcome(
    journal: Journal, producer: FakeProducer, away: str, records: Any
) -> None:
    producer.unavailable.add(away)
    with pytest.raises(UnavailableError):
        await respond(records, journal, producer)
    assert "answered" not in journal


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
    """The first goes at once; those that come while it is under way go together."""
    publisher = KafkaPublisher(producer, Encoder(SCHEMAS))  # type: ignore[arg-type]
    producer.gates[ORDERS].clear()
    deps = fake_deps(journal, publisher=publisher)
    puts = [asyncio.create_task(accept(an_import_request(order(id=str(number))), deps)) for number in range(20)]
    await until(lambda: journal.count(f"{JOB_EVENTS} acknowledged") == 20)
    producer.gates[ORDERS].set()
    assert all(isinstance(outcome, JobAccepted) for outcome in await asyncio.gather(*puts))
    batches = [records for topic, _, records in producer.sent if topic == ORDERS]
    assert sum(map(len, batches)) == 20
    assert len(batches) <= 2
    assert len({partition for topic, partition, _ in producer.sent if topic == ORDERS}) == len(batches)


# --- the convoy by itself


class FakeSend:
    """Carries what it is given, when it is let."""

    def __init__(self) -> None:
        self.batch_sizes: list[int] = []
        self.gate = asyncio.Event()
        self.is_unavailable = False

    async def send(self, records: Sequence[ProducerRecord]) -> None:
        self.batch_sizes.append(len(records))
        await self.gate.wait()
        if self.is_unavailable:
            raise UnavailableError("Kafka", retry_after_s=7)


def a_record(size: int = 1) -> ProducerRecord:
    return ProducerRecord(b"k", b"v" * size)


async def test_a_lone_record_goes_at_once() -> None:
    road = FakeSend()
    road.gate.set()
    await RecordBatcher(road.send).submit(a_record())
    assert road.batch_sizes == [1]


async def test_who_comes_later_goes_with_the_next() -> None:
    road = FakeSend()
    convoy = RecordBatcher(road.send)
    first = asyncio.create_task(convoy.submit(a_record()))
    await until(lambda: road.batch_sizes == [1])
    others = [asyncio.create_task(convoy.submit(a_record())) for _ in range(600)]
    road.gate.set()
    await asyncio.gather(first, *others)
    assert road.batch_sizes == [1, 500, 100], "a load has its bounds"


async def test_large_records_fill_a_load_sooner() -> None:
    road = FakeSend()
    convoy = RecordBatcher(road.send)
    road.gate.set()
    await asyncio.gather(*(convoy.submit(a_record(300 * 1024)) for _ in range(4)))
    assert road.batch_sizes == [2, 2]


async def test_what_became_of_a_load_became_of_each_in_it() -> None:
    road = FakeSend()
    road.is_unavailable = True
    road.gate.set()
    convoy = RecordBatcher(road.send)
    outcomes = await asyncio.gather(*(convoy.submit(a_record()) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [UnavailableError] * 3
    assert [outcome.retry_after_s for outcome in outcomes if isinstance(outcome, UnavailableError)] == [7] * 3
    road.is_unavailable = False
    await convoy.submit(a_record())
    assert road.batch_sizes == [3, 1], "the road is free again"


async def test_who_gives_up_does_not_stop_the_others() -> None:
    road = FakeSend()
    convoy = RecordBatcher(road.send)
    impatient = asyncio.create_task(convoy.submit(a_record()))
    patient = asyncio.create_task(convoy.submit(a_record()))
    await until(lambda: road.batch_sizes == [2])
    impatient.cancel()
    await asyncio.wait([impatient])
    road.gate.set()
    await patient
    assert impatient.cancelled()
