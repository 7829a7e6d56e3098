"""Orders of codes: placing them, following them, showing their codes."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from services.chassis.security.audit import AuditLog
from services.portal.domain.session import Session
from services.portal.ports import AuditTrail
from tillstream import AsyncClient
from tillstream.models import Counts, OrderedLine, PlacedOrder, Unit

ORDERS_PER_PAGE = 50
SUGGESTED_FROM_ORDERS = 50
UNITS_PER_PAGE = 100


class ShownCodes(Struct, frozen=True, kw_only=True):
    """Some units of a product in an order; there are more from `next_start` on."""

    sku: str
    status: str
    counts: Counts
    units: Sequence[Unit]
    start: int
    total: int
    next_start: int | None

    @property
    def disclosed_count(self) -> int:
        """How many codes are among them."""
        return sum(unit.redeem_code is not None for unit in self.units)


async def suggest_products(client: AsyncClient) -> Sequence[OrderedLine]:
    """Return the products of the latest orders, each once, by SKU."""
    page = await client.orders.list_page(rows=SUGGESTED_FROM_ORDERS)
    found: dict[str, OrderedLine] = {}
    for transaction in page.items:
        for line in transaction.lines:
            found.setdefault(line.sku, line)
    return [found[sku] for sku in sorted(found)]


async def place_order(
    client: AsyncClient, products: Mapping[str, int], *, number: str, idempotency_key: str
) -> PlacedOrder:
    """Place an order, once for each key; raises the errors of `tillstream`."""
    return await client.orders.place(products, client_order_number=number or None, idempotency_key=idempotency_key)


async def show_codes(
    client: AsyncClient,
    transaction_id: str,
    sku: str,
    start: int,
    *,
    session: Session,
    source: str,
    audit: AuditLog,
    trail: AuditTrail,
) -> ShownCodes:
    """Return a page of the codes of a product in an order, after the audit trail has who sees how many.

    Raises `UnavailableError` if it cannot be recorded, and the errors of `tillstream`.
    """
    found = await client.orders.codes(transaction_id, sku=sku)
    units = [unit for each in found.codes for unit in each.codes]
    end = start + UNITS_PER_PAGE
    shown = ShownCodes(
        sku=sku,
        status=found.status,
        counts=found.counts,
        units=units[start:end],
        start=start,
        total=len(units),
        next_start=end if end < len(units) else None,
    )
    if shown.disclosed_count:
        details = {
            **session.audit_details,
            "transactionId": found.transaction_id,
            "codes": shown.disclosed_count,
        }
        await trail.record("codes shown", actor=session.client_id, source=source, **details)
        audit.record("codes shown", actor=session.client_id, source=source, **details)
    return shown
