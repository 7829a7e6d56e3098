"""How transactions, purchase orders, codes and invoices are shown. Amounts are strings: no reader rounds them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from services.fulfilment.domain.business_day import MICROS_PER_SECOND
from services.fulfilment.domain.ids import derive_id
from services.fulfilment.domain.invoice import Invoice, InvoiceKind, InvoiceLine
from services.fulfilment.domain.product import Product
from services.fulfilment.domain.purchase_order import PurchaseOrder, PurchaseOrderState
from services.fulfilment.domain.totals import OrderLineTotals, PurchaseOrderTotals
from services.fulfilment.domain.transaction import Transaction, TransactionLine, TransactionStatus
from services.fulfilment.flows.get_codes import TransactionCodes

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PRIVATE = {"Cache-Control": "private, no-cache"}
MIN_POLL_INTERVAL_US, MAX_POLL_INTERVAL_US = MICROS_PER_SECOND, 60 * MICROS_PER_SECOND


def format_instant(at_us: int) -> str:
    """A time as RFC 3339 has it."""
    return (_EPOCH + timedelta(microseconds=at_us)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def format_amount(value: Decimal) -> str:
    """An amount, in digits, at least two of them after the point."""
    text = f"{value.normalize():f}"
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction:0<2}"


def accepted_order(transaction: Transaction) -> dict[str, Any]:
    """The answer to an order; the same however far the transaction has come since."""
    return {
        "transactionId": transaction.id,
        "clientOrderNumber": transaction.client_order_number,
        "purchaseOrder": _order_of(transaction),
        "status": TransactionStatus.PROCESSING,
        "lines": [_ordered(line) for line in transaction.lines],
        "createdAt": format_instant(transaction.created_us),
    }


def transaction_status(transaction: Transaction) -> dict[str, Any]:
    """A transaction with its counts."""
    return {
        "transactionId": transaction.id,
        "clientOrderNumber": transaction.client_order_number,
        "purchaseOrder": _order_of(transaction),
        "status": transaction.status,
        "lines": [{**_ordered(line), **_counts([line])} for line in transaction.lines],
        "counts": _counts(transaction.lines),
        "total": format_amount(transaction.total),
        "createdAt": format_instant(transaction.created_us),
        "deadline": format_instant(transaction.deadline_us),
    }


def codes(found: TransactionCodes, now_us: int) -> dict[str, Any]:
    """A transaction's codes, and when it makes sense to ask again."""
    transaction = found.transaction
    body: dict[str, Any] = {
        "transactionId": transaction.id,
        "status": transaction.status,
        "counts": _counts(transaction.lines),
        "codes": [{"sku": transaction.lines[number].sku, "codes": units} for number, units in found.lines.items()],
    }
    if not transaction.is_final:
        body["nextPollAfter"] = format_instant(next_poll_us(transaction, now_us))
    return body


def next_poll_us(transaction: Transaction, now_us: int) -> int:
    """When the transaction will have been looked at again; never at once, never in hours."""
    return min(max(transaction.due_us, now_us + MIN_POLL_INTERVAL_US), now_us + MAX_POLL_INTERVAL_US)


def purchase_order(order: PurchaseOrder, sums: PurchaseOrderTotals) -> dict[str, Any]:
    """A day's purchase order: its lines merged by product and price, and what they come to."""
    lines = sums.lines
    body: dict[str, Any] = {
        "id": order.id,
        "businessDate": order.business_date,
        "currency": order.currency,
        "state": order.state,
        "lines": [_merged(line) for line in lines],
        "totals": {
            "transactions": sums.transactions,
            "ordered": sum(line.ordered for line in lines),
            "delivered": sum(line.delivered for line in lines),
            "pending": sum(line.pending for line in lines),
            "cancelled": sum(line.cancelled for line in lines),
            "amount": format_amount(sum((line.amount for line in lines), Decimal(0))),
        },
    }
    if order.state is PurchaseOrderState.CLOSED and sums.transactions:
        body["invoiceId"] = derive_id("invoice", order.id, 0)
    return body


def invoice(issued: Invoice) -> dict[str, Any]:
    """An invoice or credit note."""
    draft = issued.draft
    body: dict[str, Any] = {
        "id": draft.id,
        "kind": draft.kind,
        "number": issued.label,
        "purchaseOrderId": draft.purchase_order,
        "businessDate": draft.business_date,
        "currency": draft.currency,
        "customer": {"site": draft.customer.site, "name": draft.customer.name},
        "transactions": draft.transactions,
        "lines": [_billed(line) for line in draft.lines],
        "total": format_amount(draft.total),
        "issuedAt": format_instant(draft.issued_us),
    }
    if draft.kind is InvoiceKind.CREDIT_NOTE:
        body["creditFor"] = derive_id("invoice", draft.purchase_order, 0)
    return body


def product(shown_product: Product) -> dict[str, Any]:
    """A product."""
    return {
        "sku": shown_product.sku,
        "name": shown_product.name,
        "unitPrice": format_amount(shown_product.unit_price),
        "currency": shown_product.currency,
        "supplier": shown_product.supplier,
        "withdrawn": shown_product.is_withdrawn,
    }


def _order_of(transaction: Transaction) -> dict[str, Any]:
    return {
        "id": transaction.purchase_order,
        "businessDate": transaction.business_date,
        "currency": transaction.currency,
    }


def _ordered(line: TransactionLine) -> dict[str, Any]:
    return {
        "sku": line.sku,
        "name": line.name,
        "quantity": line.quantity,
        "unitPrice": format_amount(line.unit_price),
        "amount": format_amount(line.amount),
    }


def _counts(lines: Sequence[TransactionLine]) -> dict[str, int]:
    return {
        "ordered": sum(line.quantity for line in lines),
        "delivered": sum(line.delivered for line in lines),
        "pending": sum(line.pending for line in lines),
        "cancelled": sum(line.cancelled for line in lines),
    }


def _merged(line: OrderLineTotals) -> dict[str, Any]:
    return {
        "sku": line.sku,
        "name": line.name,
        "unitPrice": format_amount(line.unit_price),
        "ordered": line.ordered,
        "delivered": line.delivered,
        "pending": line.pending,
        "cancelled": line.cancelled,
        "amount": format_amount(line.amount),
    }


def _billed(line: InvoiceLine) -> dict[str, Any]:
    return {
        "sku": line.sku,
        "name": line.name,
        "unitPrice": format_amount(line.unit_price),
        "ordered": line.ordered,
        "delivered": line.delivered,
        "pending": line.pending,
        "cancelled": line.cancelled,
        "quantity": line.charged,
        "amount": format_amount(line.amount),
    }
