"""Records of three topics become events; what cannot be decoded becomes a dead letter; offsets come last."""

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from jsonschema import Draft202012Validator

from services import topics
from services.chassis.avro.records import encode_record
from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetter
from services.chassis.kafka.topic import Topic
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import REPOSITORY
from services.webhooks.domain.event import FeedQuery
from services.webhooks.wire import EventDecoder
from services.webhooks.worker import Worker
from tests.openapi.documents import load_document
from tests.webhooks.events import SITE
from tests.webhooks.fakes import MemoryFeed
from tests.webhooks.feed_fixtures import append_deps

SCHEMAS = Schemas.load(REPOSITORY / "schemas")
JOBS, CODES, INVOICES = topics.JOBS_FINISHED, topics.FULFILMENT_CODES, topics.FULFILMENT_INVOICES


def example(topic: Topic, **changes: Any) -> bytes:
    """The example of the topic's schema, with changes."""
    fields = json.loads((REPOSITORY / "schemas" / "examples" / f"{topic.schema}.json").read_text(encoding="utf-8"))
    fields |= {"site": SITE} | changes
    if "total" in fields and topic is INVOICES:
        unscaled = int(Decimal(str(fields["total"])).scaleb(6))
        fields["total"] = unscaled.to_bytes(8, "big", signed=True)
    return encode_record(fields, SCHEMAS[str(topic.schema)])


class FakeDeadLetterSender:
    def __init__(self) -> None:
        self.sent: list[DeadLetter] = []

    async def send(self, letters: Iterable[DeadLetter]) -> None:
        self.sent += letters


class WorkerHarness:
    """A worker over a feed in memory."""

    def __init__(self) -> None:
        self.feed, self.dead_letters = MemoryFeed(), FakeDeadLetterSender()
        self.worker = Worker(
            append_deps(self.feed),
            decoder=EventDecoder(SCHEMAS),
            dead_letters=self.dead_letters,
            dead_letter_limit=DeadLetterLimit(max_consecutive=3, window=100, max_ratio=0.9),
        )
        self._offset = 0

    async def handle(self, topic: Topic, *values: bytes | None) -> dict[TopicPartition, int]:
        records = []
        for value in values:
            records.append(ConsumerRecord(topic.name, 0, self._offset, 0, 0, b"k", value, None, 0, 0, ()))
            self._offset += 1
        return dict(await self.worker.handle({TopicPartition(topic.name, 0): records}))

    async def events(self) -> list[dict[str, Any]]:
        found = await self.feed.read(FeedQuery(site=SITE, after=0, rows=1_000))
        return [json.loads(event.json) for event in found]


@pytest.fixture
def harness() -> WorkerHarness:
    return WorkerHarness()


async def test_a_finished_job(harness: WorkerHarness) -> None:
    assert await harness.handle(JOBS, example(JOBS, jobId="j", eventId="e")) == {TopicPartition(JOBS.name, 0): 1}
    (event,) = await harness.events()
    assert (event["id"], event["type"], event["time"]) == ("e", "job.finished", "2026-01-01T00:00:01.500000Z")
    assert event["data"] == {
        "jobId": "j",
        "type": "orders",
        "mode": "offline",
        "state": "COMPLETED_WITH_WARNING",
        "counts": {"total": 3, "failed": 1, "success": 2},
        "links": {
            "job": "/common-status/v1/{apiKey}/job/j",
            "events": "/common-status/v1/{apiKey}/job/j/events",
        },
    }


async def test_a_job_that_expired_has_unprocessed_records(harness: WorkerHarness) -> None:
    await harness.handle(JOBS, example(JOBS, state="EXPIRED", succeeded=0, failed=1, unprocessed=2))
    (event,) = await harness.events()
    assert event["data"]["counts"] == {"total": 3, "failed": 1, "success": 0, "unprocessed": 2}


def lines(*counts: tuple[int, int, int, int]) -> list[dict[str, Any]]:
    names = ("ordered", "delivered", "pending", "cancelled")
    return [{"sku": f"S{n}", **dict(zip(names, each, strict=True))} for n, each in enumerate(counts)]


@pytest.mark.parametrize(
    ("status", "counts", "types"),
    [
        ("PROCESSING", (3, 0, 3, 0), []),
        ("PROCESSING", (3, 2, 1, 0), ["codes.available"]),
        ("COMPLETED", (3, 3, 0, 0), ["codes.available", "order.completed"]),
        ("PARTIALLY_COMPLETED", (3, 1, 0, 2), ["codes.available", "order.completed"]),
        ("CANCELLED", (3, 0, 0, 3), ["order.completed"]),
    ],
)
async def test_codes(harness: WorkerHarness, status: str, counts: tuple[int, int, int, int], types: list[str]) -> None:
    """Sums over the order's lines; the event of an end has an id of its own, the same for every version."""
    for version in (1, 2):
        record = example(
            CODES,
            transactionId="t",
            eventId=f"e{version}",
            version=version,
            status=status,
            lines=lines(counts, (1, 0, 0, 0)),
        )
        await harness.handle(CODES, record)
    events = await harness.events()
    available = [event["type"] for event in events if event["type"] == "codes.available"]
    completed = [event["type"] for event in events if event["type"] == "order.completed"]
    assert (available[:1] + completed) == types
    assert len(available) == 2 * types.count("codes.available")
    for event in events:
        ordered, delivered, pending, cancelled = counts
        assert event["data"]["counts"] == {
            "ordered": ordered + 1,
            "delivered": delivered,
            "pending": pending,
            "cancelled": cancelled,
        }


@pytest.mark.parametrize(
    ("total", "text"), [("120", "120.00"), ("-3.5", "-3.50"), ("0.123456", "0.123456"), ("0", "0.00")]
)
async def test_an_invoice(harness: WorkerHarness, total: str, text: str) -> None:
    await harness.handle(INVOICES, example(INVOICES, invoiceId="i", total=total, currency="EUR"))
    (event,) = await harness.events()
    assert (event["data"]["id"], event["data"]["total"], event["data"]["currency"]) == ("i", text, "EUR")
    assert event["data"]["links"] == {"invoice": "/fulfilment/v1/invoices/i"}


async def test_events_are_as_described_and_small(harness: WorkerHarness) -> None:
    """Less than 2 KB, also with the longest identifiers, and nothing about the lines."""
    document = load_document("events")
    check = Draft202012Validator({"$ref": "#/components/schemas/Event", "components": document["components"]})
    await harness.handle(JOBS, example(JOBS))
    await harness.handle(CODES, example(CODES, status="COMPLETED", lines=lines(*[(9**9, 9**9, 0, 0)] * 500)))
    await harness.handle(INVOICES, example(INVOICES, total="999999999999.999999"))
    events = await harness.events()
    assert len(events) == 4
    for event in events:
        assert [error.message for error in check.iter_errors(event)] == []
        assert len(json.dumps(event).encode()) < 2_048


async def test_a_record_that_cannot_be_decoded_becomes_a_dead_letter(harness: WorkerHarness) -> None:
    offsets = await harness.handle(JOBS, b"nonsense", example(JOBS), None, example(CODES))
    assert offsets == {TopicPartition(JOBS.name, 0): 4}
    assert [(letter.record.offset, letter.reason) for letter in harness.dead_letters.sent] == [
        (0, "undecodable"),
        (2, "undecodable"),
        (3, "undecodable"),
    ]
    assert len(await harness.events()) == 1


async def test_a_partition_with_too_many_is_halted(harness: WorkerHarness) -> None:
    assert await harness.handle(JOBS, *[b"nonsense"] * 9) == {TopicPartition(JOBS.name, 0): 3}
    harness.worker.on_revoked([TopicPartition(JOBS.name, 0)])


async def test_no_offset_is_returned_before_the_events_are_stored(harness: WorkerHarness) -> None:
    harness.feed.fails = 1
    with pytest.raises(UnavailableError):
        await harness.handle(JOBS, example(JOBS))
    await harness.handle(JOBS, example(JOBS))
    assert len(await harness.events()) == 1
