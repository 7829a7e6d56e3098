"""Response bodies. Amounts are strings, so that no JSON reader rounds them."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from services.fulfilment.domain.business_day import MICROS_PER_SECOND
from services.fulfilment.domain.invoice import Invoice, InvoiceKind, invoice_id
from services.fulfilment.domain.product import Product
from services.fulfilment.domain.purchase_order import PurchaseOrder, PurchaseOrderState
from services.fulfilment.domain.totals import LineTotals, PurchaseOrderTotals
from services.fulfilment.domain.transaction import Transaction, TransactionLine, TransactionStatus
from services.fulfilment.flows.get_codes import TransactionCodes
from services.values.decimals import format_amount
from services.values.instants import format_utc

PRIVATE = {"Cache-Control": "private, no-cache"}
MIN_POLL_INTERVAL_US, MAX_POLL_INTERVAL_US = MICROS_PER_SECOND, 60 * MICROS_PER_SECOND


def format_instant(at_us: int) -> str:
    """Format an instant by RFC 3339."""
    return format_utc(at_us, digits=6)


def accepted_order(transaction: Transaction) -> dict[str, Any]:
    """Return the response to an order; it is the same whatever was delivered since."""
    return {
        "transactionId": transaction.id,
        "clientOrderNumber": transaction.client_order_number,
        "purchaseOrder": _purchase_order_reference(transaction),
        "status": TransactionStatus.PROCESSING,
        "lines": [_ordered_line(line) for line in transaction.lines],
        "createdAt": format_instant(transaction.created_us),
    }


def transaction_status(transaction: Transaction) -> dict[str, Any]:
    """Return a transaction with its counts."""
    return {
        "transactionId": transaction.id,
        "clientOrderNumber": transaction.client_order_number,
        "purchaseOrder": _purchase_order_reference(transaction),
        "status": transaction.status,
        "lines": [{**_ordered_line(line), **_counts([line])} for line in transaction.lines],
        "counts": _counts(transaction.lines),
        "total": format_amount(transaction.total),
        "createdAt": format_instant(transaction.created_us),
        "deadline": format_instant(transaction.deadline_us),
    }


def codes(found: TransactionCodes, now_us: int) -> dict[str, Any]:
    """Return a transaction's codes, and when to ask again."""
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
    """Return when the transaction is due, within the bounds of the poll interval."""
    return min(max(transaction.due_us, now_us + MIN_POLL_INTERVAL_US), now_us + MAX_POLL_INTERVAL_US)


def purchase_order(order: PurchaseOrder, totals: PurchaseOrderTotals) -> dict[str, Any]:
    """Return a purchase order with its merged lines and totals."""
    lines = totals.lines
    body: dict[str, Any] = {
        "id": order.id,
        "businessDate": order.business_date,
        "currency": order.currency,
        "state": order.state,
        "lines": [_line_totals(line) for line in lines],
        "totals": {
            "transactions": totals.transactions,
            "ordered": sum(line.ordered for line in lines),
            "delivered": sum(line.delivered for line in lines),
            "pending": sum(line.pending for line in lines),
            "cancelled": sum(line.cancelled for line in lines),
            "amount": format_amount(sum((line.amount for line in lines), Decimal(0))),
        },
    }
    if order.state is PurchaseOrderState.CLOSED and totals.transactions:
        body["invoiceId"] = invoice_id(order.id)
    return body


def invoice(issued: Invoice) -> dict[str, Any]:
    """Return an invoice or credit note."""
    draft = issued.draft
    body: dict[str, Any] = {
        "id": draft.id,
        "kind": draft.kind,
        "number": issued.label,
        "purchaseOrderId": draft.purchase_order,
        "businessDate": draft.business_date,
        "currency": draft.currency,
        "issuer": {
            "name": draft.issuer.name,
            "address": draft.issuer.address,
            "taxId": draft.issuer.tax_id,
            "bank": draft.issuer.bank,
            "terms": draft.issuer.terms,
        },
        "customer": {
            "site": draft.customer.site,
            "name": draft.customer.name,
            "address": draft.customer.address,
            "taxId": draft.customer.tax_id,
        },
        "transactions": draft.transactions,
        "lines": [{**_line_totals(line), "quantity": line.charged} for line in draft.lines],
        "total": format_amount(draft.total),
        "issuedAt": format_instant(draft.issued_us),
    }
    if draft.kind is InvoiceKind.CREDIT_NOTE:
        body["creditFor"] = invoice_id(draft.purchase_order)
    return body


def product(stored: Product) -> dict[str, Any]:
    """Return a product."""
    return {
        "sku": stored.sku,
        "name": stored.name,
        "unitPrice": format_amount(stored.unit_price),
        "currency": stored.currency,
        "supplier": stored.supplier,
        "withdrawn": stored.is_withdrawn,
    }


def _purchase_order_reference(transaction: Transaction) -> dict[str, Any]:
    return {
        "id": transaction.purchase_order,
        "businessDate": transaction.business_date,
        "currency": transaction.currency,
    }


def _ordered_line(line: TransactionLine) -> dict[str, Any]:
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


def _line_totals(line: LineTotals) -> dict[str, Any]:
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
