"""Fulfilment's things as they stand in MongoDB."""

from decimal import Decimal
from typing import Any, TypeVar

import msgspec
from bson import Decimal128
from bson.codec_options import TypeCodec, TypeRegistry

from services.fulfilment.domain.invoice import Invoice, InvoiceDraft
from services.fulfilment.domain.product import Product
from services.fulfilment.domain.purchase_order import PurchaseOrder
from services.fulfilment.domain.slots import FilledSlot, UnitStatus
from services.fulfilment.domain.totals import OrderLineTotals, PurchaseOrderTotals
from services.fulfilment.domain.transaction import Transaction

Document = dict[str, Any]
T = TypeVar("T")

_ATOMS = (Decimal, bytes)


class _DecimalCodec(TypeCodec):
    """Amounts are MongoDB's own decimals there, and Python's here: exact in both."""

    python_type = Decimal
    bson_type = Decimal128

    def transform_python(self, value: Decimal) -> Decimal128:
        """As it is kept."""
        return Decimal128(value)

    def transform_bson(self, value: Decimal128) -> Decimal:
        """As it is reckoned with."""
        return value.to_decimal()


def with_decimals(collection: Any) -> Any:
    """The collection, whose documents may have amounts in them."""
    options = collection.codec_options.with_options(type_registry=TypeRegistry([_DecimalCodec()]))
    return collection.with_options(codec_options=options)


def to_bson(value: Any) -> Any:
    """Names and values as MongoDB keeps them."""
    return msgspec.to_builtins(value, builtin_types=_ATOMS)


def from_bson(document: Any, kind: type[T]) -> T:
    """The thing that a document holds; what it holds besides is left out."""
    return msgspec.convert(document, kind, builtin_types=_ATOMS)


def product_document(product: Product) -> Document:
    """A product, by its SKU."""
    document: Document = to_bson(product)
    return {"_id": document.pop("sku"), **document}


def product_from_document(document: Document) -> Product:
    """The product of a document."""
    return from_bson({"sku": document["_id"], **document}, Product)


def transaction_document(transaction: Transaction) -> Document:
    """Build a new transaction's document.

    `unique_order_number` reserves its number; `pending` and `waiting_for_skus` are set until it is final.
    """
    fields: Document = to_bson(transaction)
    document = {"_id": fields.pop("id"), **fields, **_open(transaction)}
    if transaction.client_order_number is not None and transaction.has_duplicate_check:
        document["unique_order_number"] = f"{transaction.site}:{transaction.client_order_number}"
    return document


def transaction_change(before: int, now: Transaction) -> tuple[Document, Document]:
    """Guard and update that bring new counts into the transaction of the version before."""
    fields: Document = to_bson(now)
    changed = {name: fields[name] for name in ("lines", "status", "version", "cancellations")}
    update: Document = {"$set": changed}
    if now.cancellations:
        changed["has_uncredited"] = True
    if now.is_final:
        update["$unset"] = {"pending": "", "waiting_for_skus": ""}
    else:
        changed |= _open(now)
    return {"_id": now.id, "version": before}, update


def transaction_from_document(document: Document) -> Transaction:
    """The transaction of a document."""
    return from_bson({"id": document["_id"], **document}, Transaction)


def purchase_order_from_document(document: Document) -> PurchaseOrder:
    """The purchase order of a document."""
    return from_bson(document, PurchaseOrder)


def totals_from_document(document: Document) -> PurchaseOrderTotals:
    """What the pipeline has added up."""
    lines = [from_bson({**line, **line["_id"]}, OrderLineTotals) for line in document["lines"]]
    return PurchaseOrderTotals(transactions=sum(one["transactions"] for one in document["counted"]), lines=lines)


def invoice_document(invoice: Invoice) -> Document:
    """An issued document, with what it is found by beside it."""
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
    """The invoice of a document."""
    return Invoice(from_bson(document["draft"], InvoiceDraft), document["number"])


def filled_slot_from_document(document: Document) -> FilledSlot:
    """What fills a slot."""
    status = document.get("status")
    return FilledSlot(document["slot"], UnitStatus(status) if status else UnitStatus.COMPLETED, document.get("reason"))


def _open(transaction: Transaction) -> Document:
    return {"pending": True, "waiting_for_skus": [line.sku for line in transaction.lines if line.pending]}
