"""Orders of codes, purchase orders, and what codes are sold of."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from time import monotonic
from urllib.parse import quote

from msgspec import Struct

from tillstream._async.runtime import async_sleep
from tillstream._async.transport import AsyncTransport
from tillstream.encoding import encode_records
from tillstream.errors import NotFinishedError
from tillstream.http import FULFILMENT, ItemPage, decode
from tillstream.models import Codes, LoadedCodes, PlacedOrder, Product, PurchaseOrder, Transaction

_JSON = {"Content-Type": "application/json"}
MIN_POLL_S, MAX_POLL_S = 0.2, 5.0


class _PurchaseOrders(Struct, rename="camel"):
    business_date: date
    result: list[PurchaseOrder]


class AsyncOrders:
    """`client.orders`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def place(
        self,
        products: Mapping[str, int],
        *,
        client_order_number: str | None = None,
        currency: str | None = None,
        check_duplicates: bool = True,
        idempotency_key: str | None = None,
    ) -> PlacedOrder:
        """Order codes: a quantity by SKU. All lines are ordered, or none.

        With a `client_order_number` the same order is placed once, however often it is sent.
        """
        request = {
            "clientOrderNumber": client_order_number,
            "enableClientOrderNumberDupCheck": check_duplicates,
            "payWithCurrency": currency,
            "products": [{"sku": sku, "quantity": quantity} for sku, quantity in products.items()],
        }
        content = encode_records({name: value for name, value in request.items() if value is not None})
        headers = _JSON | ({"Idempotency-Key": idempotency_key} if idempotency_key else {})
        response = await self._transport.request(FULFILMENT, "POST", "/orders", content=content, headers=headers)
        return decode(response.body, PlacedOrder)

    async def get(self, transaction_id: str) -> Transaction:
        """Return an order with its progress."""
        return await self._transport.get(FULFILMENT, _order(transaction_id), Transaction)

    async def list(
        self,
        *,
        client_order_number: str | None = None,
        since: datetime | date | None = None,
        until: datetime | date | None = None,
        rows: int | None = None,
    ) -> AsyncIterator[Transaction]:
        """Yield the orders, newest first."""
        params = {"clientOrderNumber": client_order_number, "rows": rows}
        bounds = {"from": since and since.isoformat(), "to": until and until.isoformat()}
        async for transaction in self._transport.pages(FULFILMENT, "/orders", Transaction, **params, **bounds):
            yield transaction

    async def list_page(
        self,
        *,
        client_order_number: str | None = None,
        since: datetime | date | None = None,
        until: datetime | date | None = None,
        rows: int | None = None,
        page_token: str | None = None,
    ) -> ItemPage[Transaction]:
        """Return one page of the orders, newest first; its token is good for the same filters only."""
        params = {"clientOrderNumber": client_order_number, "rows": rows}
        bounds = {"from": since and since.isoformat(), "to": until and until.isoformat()}
        return await self._transport.page(FULFILMENT, "/orders", Transaction, page_token=page_token, **params, **bounds)

    async def codes(
        self,
        transaction_id: str,
        *,
        sku: str | None = None,
        until_complete: bool = False,
        timeout_s: float | None = None,
    ) -> Codes:
        """Return the codes that are delivered; with `until_complete` once no unit is pending any more.

        Raises `NotFinishedError` if units are still pending after `timeout_s`.
        """
        deadline = None if timeout_s is None else monotonic() + timeout_s
        while True:
            codes = await self._transport.get(FULFILMENT, f"{_order(transaction_id)}/codes", Codes, sku=sku)
            if codes.is_complete or not until_complete:
                return codes
            if deadline is not None and monotonic() >= deadline:
                raise NotFinishedError(f"{codes.counts.pending} units are still pending after {timeout_s} s")
            await async_sleep(_poll_pause_s(codes))

    async def purchase_orders(self, day: date | None = None) -> Sequence[PurchaseOrder]:
        """Return the purchase orders of a business day, by default of the current one."""
        params = {"date": day and day.isoformat()}
        found = await self._transport.get(FULFILMENT, "/purchase-orders", _PurchaseOrders, **params)
        return found.result

    async def purchase_order(self, purchase_order_id: str) -> PurchaseOrder:
        """Return a purchase order with the first page of its transactions."""
        return await self._transport.get(
            FULFILMENT, f"/purchase-orders/{quote(purchase_order_id, safe='')}", PurchaseOrder
        )

    async def put_product(
        self,
        sku: str,
        *,
        name: str,
        unit_price: str | Decimal,
        currency: str = "USD",
        supplier: str | None = None,
        withdrawn: bool = False,
    ) -> Product:
        """Create or replace a product (scope `stock:write`); a withdrawn one cannot be ordered."""
        product = {"name": name, "unitPrice": str(unit_price), "currency": currency, "supplier": supplier}
        fields = {field: value for field, value in product.items() if value is not None} | {"withdrawn": withdrawn}
        content = encode_records(fields)
        path = f"/products/{quote(sku, safe='')}"
        response = await self._transport.request(FULFILMENT, "PUT", path, content=content, headers=_JSON)
        return decode(response.body, Product)

    async def load_codes(self, sku: str, codes: Sequence[str | Mapping[str, str]]) -> LoadedCodes:
        """Load codes of a product into the stock (scope `stock:write`); those that are known are not added again.

        A code is a text, or has a `redeemCode` and a `pinCode`.
        """
        path = f"/stock/{quote(sku, safe='')}/codes"
        content = encode_records({"codes": list(codes)})
        response = await self._transport.request(FULFILMENT, "POST", path, content=content, headers=_JSON)
        return decode(response.body, LoadedCodes)


def _order(transaction_id: str) -> str:
    return f"/orders/{quote(transaction_id, safe='')}"


def _poll_pause_s(codes: Codes) -> float:
    if codes.next_poll_after is None:
        return 1.0
    wait = (codes.next_poll_after - datetime.now(UTC)).total_seconds()
    # The clocks may differ.
    return min(max(wait, MIN_POLL_S), MAX_POLL_S)
