"""Domain types to and from MongoDB documents."""

from decimal import Decimal
from typing import Any, TypeVar

import msgspec
from bson import Decimal128
from bson.codec_options import TypeCodec, TypeRegistry

from services.fulfilment.domain.invoice import Invoice, InvoiceDraft
from services.fulfilment.domain.product import Product
from services.fulfilment.domain.slots import FilledSlot, UnitStatus
from services.fulfilment.domain.totals import LineTotals, PurchaseOrderTotals
from services.fulfilment.domain.transaction import Transaction

Document = dict[str, Any]
T = TypeVar("T")

_BUILTIN_TYPES = (Decimal, bytes)


class _DecimalCodec(TypeCodec):
    """Amounts are Decimal128 in MongoDB and Decimal in Python: exact in both."""

    python_type = Decimal
    bson_type = Decimal128

    def transform_python(self, value: Decimal) -> Decimal128:
        return Decimal128(value)

    def transform_bson(self, value: Decimal128) -> Decimal:
        return value.to_decimal()


def with_decimals(collection: Any) -> Any:
    """Return the collection with a codec for amounts."""
    options = collection.codec_options.with_options(type_registry=TypeRegistry([_DecimalCodec()]))
    return collection.with_options(codec_options=options)


def to_bson(value: Any) -> Any:
    """Return the value as MongoDB stores it."""
    return msgspec.to_builtins(value, builtin_types=_BUILTIN_TYPES)


def from_bson(document: Any, kind: type[T]) -> T:
    """Return the document as a `kind`; other fields are ignored."""
    return msgspec.convert(document, kind, builtin_types=_BUILTIN_TYPES)


def without_none(fields: Document) -> Document:
    """Return the fields that are not None, such as the conditions of a filter that are given."""
    return {name: value for name, value in fields.items() if value is not None}


def product_document(product: Product) -> Document:
    """Build a product's document."""
    document: Document = to_bson(product)
    return {"_id": document.pop("sku"), **document}


def product_from_document(document: Document) -> Product:
    """Parse a product."""
    return from_bson({"sku": document["_id"], **document}, Product)


def transaction_document(transaction: Transaction) -> Document:
    """Build a new transaction's document.

    `unique_order_number` reserves its number; `pending` and `waiting_for_skus` are set until the transaction is final.
    """
    fields: Document = to_bson(transaction)
    document = {"_id": fields.pop("id"), **fields, **_pending_fields(transaction)}
    if transaction.client_order_number is not None and transaction.has_duplicate_check:
        document["unique_order_number"] = f"{transaction.site}:{transaction.client_order_number}"
    return document


def transaction_update(previous_version: int, transaction: Transaction) -> tuple[Document, Document]:
    """Build filter and update that store the new counts of a transaction unless its version has changed."""
    fields: Document = to_bson(transaction)
    changed = {name: fields[name] for name in ("lines", "status", "version", "cancellations")}
    update: Document = {"$set": changed}
    if transaction.cancellations:
        changed["has_uncredited"] = True
    if transaction.is_final:
        update["$unset"] = {"pending": "", "waiting_for_skus": ""}
    else:
        changed |= _pending_fields(transaction)
    return {"_id": transaction.id, "version": previous_version}, update


def transaction_from_document(document: Document) -> Transaction:
    """Parse a transaction."""
    return from_bson({"id": document["_id"], **document}, Transaction)


def totals_from_document(document: Document) -> PurchaseOrderTotals:
    """Parse the result of the aggregation of a purchase order."""
    lines = [
        from_bson({**line, **line["_id"], "charged": line["ordered"] - line["cancelled"]}, LineTotals)
        for line in document["lines"]
    ]
    return PurchaseOrderTotals(transactions=sum(count["transactions"] for count in document["counts"]), lines=lines)


def invoice_document(invoice: Invoice) -> Document:
    """Build an issued document's document; its indexed fields are copied beside the draft."""
    draft = invoice.draft
    return {
        "_id": draft.id,
        "site": draft.customer.site,
        "year": draft.year,
        "number": invoice.number,
        "purchase_order": draft.purchase_order,
        "sequence": draft.sequence,
        "business_date": draft.business_date,
        "draft": to_bson(draft),
    }


def invoice_from_document(document: Document) -> Invoice:
    """Parse an invoice or credit note."""
    return Invoice(from_bson(document["draft"], InvoiceDraft), document["number"])


def filled_slot_from_document(document: Document) -> FilledSlot:
    """Parse a filled slot."""
    status = document.get("status")
    return FilledSlot(document["slot"], UnitStatus(status) if status else UnitStatus.COMPLETED, document.get("reason"))


def _pending_fields(transaction: Transaction) -> Document:
    return {"pending": True, "waiting_for_skus": [line.sku for line in transaction.lines if line.pending]}
