"""The events that fulfilment writes and reads, and the mails it asks for: all leave by the outbox."""

import io
from collections.abc import Mapping
from typing import Any

from fastavro import schemaless_writer
from msgspec.structs import replace

from services import topics
from services.chassis.avro.records import AvroRecordReader
from services.chassis.avro.schemas import Schema, Schemas
from services.chassis.mongodb import outbox
from services.fulfilment.domain.ids import derive_id
from services.fulfilment.domain.invoice import Invoice
from services.fulfilment.domain.transaction import Transaction

KAFKA, MAIL = "kafka", "mail"


class EventCodec:
    """Writes the events that go out with every change, and reads the one that fulfilment itself waits for."""

    def __init__(self, schemas: Schemas) -> None:
        self._records = AvroRecordReader(schemas, "fulfilment_transaction")
        self._placed = schemas["fulfilment_transaction"]
        self._codes = schemas["fulfilment_codes"]
        self._invoice = schemas["fulfilment_invoice"]

    def order_placed(self, transaction: Transaction) -> outbox.Message:
        """A transaction was placed."""
        event = {
            "eventId": derive_id("placed", transaction.id),
            "transactionId": transaction.id,
            "site": transaction.site,
            "clientOrderNumber": transaction.client_order_number,
            "purchaseOrderId": transaction.purchase_order,
            "businessDate": transaction.business_date,
            "currency": transaction.currency,
            "createdAt": transaction.created_us,
            "lines": [
                {"sku": line.sku, "name": line.name, "quantity": line.quantity, "unitPrice": line.unit_price}
                for line in transaction.lines
            ],
        }
        message = self._message(
            topics.FULFILMENT_TRANSACTIONS.name, transaction.id, self._placed, event, at_us=transaction.created_us
        )
        return _traced(message, transaction)

    def availability_changed(self, transaction: Transaction, at_us: int) -> outbox.Message:
        """The availability of a transaction's codes has changed. No code is in it."""
        event = {
            "eventId": derive_id("codes", transaction.id, transaction.version),
            "transactionId": transaction.id,
            "site": transaction.site,
            "version": transaction.version,
            "status": transaction.status.value,
            "at": at_us,
            "lines": [
                {
                    "sku": line.sku,
                    "ordered": line.quantity,
                    "delivered": line.delivered,
                    "pending": line.pending,
                    "cancelled": line.cancelled,
                }
                for line in transaction.lines
            ],
        }
        message = self._message(topics.FULFILMENT_CODES.name, transaction.id, self._codes, event, at_us=at_us)
        return _traced(message, transaction)

    def invoice_issued(self, invoice: Invoice) -> list[outbox.Message]:
        """An invoice or credit note was issued; a mail goes out too if the customer has an address."""
        draft = invoice.draft
        event = {
            "eventId": derive_id("issued", draft.id),
            "invoiceId": draft.id,
            "kind": draft.kind.value,
            "number": invoice.label,
            "site": draft.customer.site,
            "purchaseOrderId": draft.purchase_order,
            "businessDate": draft.business_date,
            "currency": draft.currency,
            "total": draft.total,
            "transactions": draft.transactions,
            "issuedAt": draft.issued_us,
        }
        messages = [
            self._message(
                topics.FULFILMENT_INVOICES.name, draft.purchase_order, self._invoice, event, at_us=draft.issued_us
            )
        ]
        if draft.customer.email is not None:
            mail_id = derive_id("mail", draft.id)
            messages.append(outbox.Message(id=mail_id, channel=MAIL, target=draft.id, at_us=draft.issued_us))
        return messages

    def decode_placed_id(self, value: bytes | None) -> str:
        """Which transaction was placed; raises `ValueError` for bytes that do not say so."""
        return str(self._records.read(value)["transactionId"])

    @staticmethod
    def _message(topic: str, key: str, schema: Schema, event: Mapping[str, Any], *, at_us: int) -> outbox.Message:
        stream = io.BytesIO()
        stream.write(schema.prefix)
        schemaless_writer(stream, schema.parsed, event, strict=True)
        return outbox.Message(
            id=event["eventId"],
            channel=KAFKA,
            target=topic,
            key=key.encode(),
            value=stream.getvalue(),
            at_us=at_us,
        )


def _traced(message: outbox.Message, transaction: Transaction) -> outbox.Message:
    """What follows from a request belongs to its trace."""
    if transaction.traceparent is None:
        return message
    return replace(message, headers=(("traceparent", transaction.traceparent.encode()),))
