"""Fulfilment's events and mails, as messages of the outbox."""

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
    """Encodes the events of every change, and decodes the one that fulfilment consumes itself."""

    def __init__(self, schemas: Schemas) -> None:
        self._reader = AvroRecordReader(schemas, "fulfilment_transaction")
        self._transaction = schemas["fulfilment_transaction"]
        self._codes = schemas["fulfilment_codes"]
        self._invoice = schemas["fulfilment_invoice"]

    def order_placed(self, transaction: Transaction) -> outbox.Message:
        """Encode that a transaction was placed."""
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
        topic = topics.FULFILMENT_TRANSACTIONS.name
        message = _encode(topic, transaction.id, self._transaction, event, created_us=transaction.created_us)
        return _with_traceparent(message, transaction)

    def availability_changed(self, transaction: Transaction, at_us: int) -> outbox.Message:
        """Encode the new counts of a transaction. The event holds no code."""
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
        message = _encode(topics.FULFILMENT_CODES.name, transaction.id, self._codes, event, created_us=at_us)
        return _with_traceparent(message, transaction)

    def invoice_issued(self, invoice: Invoice) -> list[outbox.Message]:
        """Encode that an invoice or credit note was issued; a customer with an address gets a mail, too."""
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
        topic = topics.FULFILMENT_INVOICES.name
        messages = [_encode(topic, draft.purchase_order, self._invoice, event, created_us=draft.issued_us)]
        if draft.customer.email is not None:
            mail_id = derive_id("mail", draft.id)
            messages.append(outbox.Message(id=mail_id, channel=MAIL, target=draft.id, created_us=draft.issued_us))
        return messages

    def decode_placed_id(self, value: bytes | None) -> str:
        """Return the id of the placed transaction; raises `ValueError` if the bytes are not such an event."""
        return str(self._reader.read(value)["transactionId"])


def _encode(topic: str, key: str, schema: Schema, event: Mapping[str, Any], *, created_us: int) -> outbox.Message:
    stream = io.BytesIO()
    stream.write(schema.prefix)
    schemaless_writer(stream, schema.parsed, event, strict=True)
    return outbox.Message(
        id=event["eventId"],
        channel=KAFKA,
        target=topic,
        key=key.encode(),
        value=stream.getvalue(),
        created_us=created_us,
    )


def _with_traceparent(message: outbox.Message, transaction: Transaction) -> outbox.Message:
    """Continue the trace of the request that placed the transaction."""
    if transaction.traceparent is None:
        return message
    return replace(message, headers=(("traceparent", transaction.traceparent.encode()),))
