"""Fulfilment's things as they stand in MongoDB."""

from decimal import Decimal
from typing import Any, TypeVar

import msgspec
from bson import Decimal128
from bson.codec_options import TypeCodec, TypeRegistry

from services.fulfilment.domain.invoice import Draft, Invoice
from services.fulfilment.domain.product import Product
from services.fulfilment.domain.purchase_order import PurchaseOrder
from services.fulfilment.domain.slots import Filled, UnitStatus
from services.fulfilment.domain.sums import Merged, Sums
from services.fulfilment.domain.transaction import Transaction

Document = dict[str, Any]
T = TypeVar("T")

_ATOMS = (Decimal, bytes)


class _Amounts(TypeCodec):
    """Amounts are MongoDB's own decimals there, and Python's here: exact in both."""

    python_type = Decimal
    bson_type = Decimal128

    def transform_python(self, value: Decimal) -> Decimal128:
        """As it is kept."""
        return Decimal128(value)

    def transform_bson(self, value: Decimal128) -> Decimal:
        """As it is reckoned with."""
        return value.to_decimal()


def with_amounts(collection: Any) -> Any:
    """The collection, whose documents may have amounts in them."""
    options = collection.codec_options.with_options(type_registry=TypeRegistry([_Amounts()]))
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


def sums_of(document: Document) -> Sums:
    """What the pipeline has added up."""
    lines = [from_bson({**line, **line["_id"]}, Merged) for line in document["lines"]]
    return Sums(transactions=sum(one["transactions"] for one in document["counted"]), lines=lines)


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


def _open(transaction: Transaction) -> Document:
    return {"open": True, "waits": [line.sku for line in transaction.lines if line.pending]}
