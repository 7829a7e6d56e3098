"""Fulfilment's things as they stand in MongoDB, on topics and in the outbox."""

import io
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
from bson import Decimal128
from fastavro import schemaless_reader, schemaless_writer

from services import topics
from services.chassis import framing, outbox
from services.chassis.registry import Schema, Schemas
from services.fulfilment.domain.ids import derived
from services.fulfilment.domain.invoice import Draft, Invoice
from services.fulfilment.domain.product import Product
from services.fulfilment.domain.purchase_order import PurchaseOrder
from services.fulfilment.domain.slots import Filled, UnitStatus
from services.fulfilment.domain.transaction import Transaction

Document = dict[str, Any]
T = TypeVar("T")

KAFKA, MAIL = "kafka", "mail"
_ATOMS = (Decimal, bytes)


def to_bson(value: Any) -> Any:
    """Names and values as MongoDB keeps them; amounts as its own decimals."""
    return _amounts_in(msgspec.to_builtins(value, builtin_types=_ATOMS))


def from_bson(document: Any, kind: type[T]) -> T:
    """The thing that a document holds; what it holds besides is left out."""
    return msgspec.convert(_amounts_out(document), kind, builtin_types=_ATOMS)


def product_document(product: Product) -> Document:
    """A product, by its SKU."""
    document: Document = to_bson(product)
    return {"_id": document.pop("sku"), **document}


def product_of(document: Document) -> Product:
    """The product of a document."""
    return from_bson({"sku": document["_id"], **document}, Product)


def transaction_document(transaction: Transaction) -> Document:
    """A new transaction. `claim` keeps its number from others; `open` and `waits` stand there while it is pending."""
    fields: Document = to_bson(transaction)
    document = {"_id": fields.pop("id"), **fields, **_open(transaction)}
    if transaction.client_order_number is not None and transaction.is_checked:
        document["claim"] = f"{transaction.site}:{transaction.client_order_number}"
    return document


def transaction_change(before: int, now: Transaction) -> tuple[Document, Document]:
    """Guard and update that bring new counts into the transaction of the version before."""
    fields: Document = to_bson(now)
    changed = {name: fields[name] for name in ("lines", "status", "version", "cancellations")}
    update: Document = {"$set": changed}
    if now.cancellations:
        changed["owes"] = True
    if now.is_final:
        update["$unset"] = {"open": "", "waits": ""}
    else:
        changed |= _open(now)
    return {"_id": now.id, "version": before}, update


def transaction_of(document: Document) -> Transaction:
    """The transaction of a document."""
    return from_bson({"id": document["_id"], **document}, Transaction)


def purchase_order_of(document: Document) -> PurchaseOrder:
    """The purchase order of a document."""
    return from_bson(document, PurchaseOrder)


def invoice_document(invoice: Invoice) -> Document:
    """An issued document, with what it is found by beside it."""
    draft = invoice.draft
    return {
        "_id": draft.id,
        "site": draft.party.site,
        "year": draft.year,
        "number": invoice.number,
        "purchase_order": draft.purchase_order,
        "turn": draft.turn,
        "business_date": draft.business_date,
        "draft": to_bson(draft),
    }


def invoice_of(document: Document) -> Invoice:
    """The invoice of a document."""
    return Invoice(from_bson(document["draft"], Draft), document["number"])


def filled_of(document: Document) -> Filled:
    """What fills a slot."""
    status = document.get("status")
    return Filled(document["slot"], UnitStatus(status) if status else UnitStatus.COMPLETED, document.get("reason"))


class Events:
    """Writes the events that go out with every change, and reads the one that fulfilment itself waits for."""

    def __init__(self, schemas: Schemas) -> None:
        self._placed = schemas["fulfilment_transaction"]
        self._codes = schemas["fulfilment_codes"]
        self._invoice = schemas["fulfilment_invoice"]

    def placed(self, transaction: Transaction) -> outbox.Message:
        """A transaction was placed."""
        event = {
            "eventId": derived("placed", transaction.id),
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
        return self._message(
            topics.FULFILMENT_TRANSACTIONS.name, transaction.id, self._placed, event, at_us=transaction.created_us
        )

    def counted(self, transaction: Transaction, at_us: int) -> outbox.Message:
        """The availability of a transaction's codes has changed. No code is in it."""
        event = {
            "eventId": derived("codes", transaction.id, transaction.version),
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
        return self._message(topics.FULFILMENT_CODES.name, transaction.id, self._codes, event, at_us=at_us)

    def issued(self, invoice: Invoice) -> list[outbox.Message]:
        """An invoice or credit note was issued; a mail goes out too if the customer has an address."""
        draft = invoice.draft
        event = {
            "eventId": derived("issued", draft.id),
            "invoiceId": draft.id,
            "kind": draft.kind.value,
            "number": invoice.label,
            "site": draft.party.site,
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
        if draft.party.email is not None:
            mail_id = derived("mail", draft.id)
            messages.append(outbox.Message(id=mail_id, channel=MAIL, target=draft.id, at_us=draft.issued_us))
        return messages

    def placed_in(self, value: bytes | None) -> str:
        """Which transaction was placed; raises `ValueError` for bytes that do not say so."""
        schema_id, body = framing.unframe(value)
        if schema_id != self._placed.schema_id:
            raise ValueError("another schema")
        stream = io.BytesIO(body)
        try:
            read: Any = schemaless_reader(stream, self._placed.plain, None)
        except Exception as error:
            # fastavro raises nearly anything on bytes that are no record.
            raise ValueError("not a transaction") from error
        if stream.read(1):
            raise ValueError("bytes after the end")
        return str(read["transactionId"])

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


def _open(transaction: Transaction) -> Document:
    return {"open": True, "waits": [line.sku for line in transaction.lines if line.pending]}


def _amounts_in(value: Any) -> Any:
    if isinstance(value, Decimal):
        return Decimal128(value)
    if isinstance(value, dict):
        return {name: _amounts_in(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_amounts_in(item) for item in value]
    return value


def _amounts_out(value: Any) -> Any:
    if isinstance(value, Decimal128):
        return value.to_decimal()
    if isinstance(value, dict):
        return {name: _amounts_out(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_amounts_out(item) for item in value]
    return value
