"""The events that other teams read: each has an id of its own and agrees with the store."""

import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from services.chassis.avro.record_decoder import DecodedRecord, decode_record
from services.chassis.avro.schemas import Schemas
from services.chassis.mongodb.outbox import Message
from services.chassis.runtime.settings import REPOSITORY
from services.cli import schema_compatibility
from services.fulfilment.domain.listing import InvoiceQuery
from services.fulfilment.domain.transaction import Tally, apply_tallies
from services.fulfilment.wire.events import MAIL, EventCodec
from tests.fulfilment.harness import SCHEMAS, SITE, Harness

CODEC = EventCodec(SCHEMAS)
TRACE = "00-11111111111111111111111111111111-2222222222222222-01"


def decode_event(message: Message) -> Any:
    found = decode_record(message.value, (), SCHEMAS)
    assert isinstance(found, DecodedRecord), found
    assert found.record["eventId"] == message.id
    return found.record


async def test_each_change_of_counts_is_an_event_of_its_own(memory_harness: Harness) -> None:
    placed = replace((await memory_harness.place(("CARD", 5))).transaction, traceparent=TRACE)
    some = apply_tallies(placed, {0: Tally(2, 1)}, business_date="2026-03-04")
    more = apply_tallies(some, {0: Tally(3, 2)}, business_date="2026-03-04")
    messages = [
        CODEC.order_placed(placed),
        CODEC.availability_changed(some, 1),
        CODEC.availability_changed(some, 2),
        CODEC.availability_changed(more, 3),
    ]
    first, again = messages[1:3]
    assert first.id == again.id
    assert len({message.id for message in messages}) == 3
    assert {(message.key, message.headers) for message in messages} == {
        (placed.id.encode(), (("traceparent", TRACE.encode()),))
    }
    lines = [decode_event(message)["lines"] for message in messages[1:]]
    assert [(line["delivered"], line["pending"], line["cancelled"]) for (line,) in lines] == [
        (2, 2, 1),
        (2, 2, 1),
        (3, 0, 2),
    ]
    assert [decode_event(message)["status"] for message in messages[1:]] == [
        "PROCESSING",
        "PROCESSING",
        "PARTIALLY_COMPLETED",
    ]


async def test_an_invoice_and_its_credit_notes_are_events_of_their_purchase_order(memory_harness: Harness) -> None:
    memory_harness.customers.emails[SITE] = "bills@customer.example"
    placed = (await memory_harness.place(("DEMO-CANCEL", 2))).transaction
    for _ in range(2):
        memory_harness.clock.advance(days=1)
        await memory_harness.close_days()
        await memory_harness.fulfil(placed.id)
    memory_harness.clock.advance(days=1)
    await memory_harness.close_days()
    note, invoice = await memory_harness.invoices.find_page(InvoiceQuery(site=SITE))
    messages = [CODEC.invoice_issued(document) for document in (invoice, note)]
    events = [decode_event(message) for message, _ in messages]
    assert [(event["kind"], event["number"], event["total"]) for event in events] == [
        ("INVOICE", "2026-000001", Decimal(20)),
        ("CREDIT_NOTE", "2026-000002", Decimal(-20)),
    ]
    assert {message.key for message, _ in messages} == {placed.purchase_order.encode()}
    assert [(mail.channel, mail.target) for _, mail in messages] == [
        (MAIL, document.draft.id) for document in (invoice, note)
    ]
    assert len({message.id for pair in messages for message in pair}) == 4


async def test_what_another_release_has_written_is_read(memory_harness: Harness, tmp_path: Path) -> None:
    """F25: during a rolling update, the topic holds events of both releases."""
    placed = (await memory_harness.place(("CARD", 1))).transaction
    directory = tmp_path / "schemas"
    shutil.copytree(REPOSITORY / "schemas", directory)
    schema_compatibility.add_version(directory, "fulfilment_transaction")
    newer = EventCodec(Schemas.load(directory))
    assert newer.order_placed(placed).value != CODEC.order_placed(placed).value
    for codec in (CODEC, newer):
        assert newer.decode_placed_id(codec.order_placed(placed).value) == placed.id
    with pytest.raises(ValueError, match="another schema"):
        newer.decode_placed_id(CODEC.availability_changed(placed, 0).value)
    with pytest.raises(ValueError, match="another schema"):
        CODEC.decode_placed_id(newer.order_placed(placed).value)
