"""A request to order codes: parsed, and priced against the known products."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from msgspec import Struct

from services.fulfilment.domain.product import Product
from services.fulfilment.domain.transaction import Transaction, TransactionLine
from services.values.decimals import HugeNumber
from services.values.identifiers import read_identifier
from services.values.invalid import Invalid, describe_type

MAX_LINES = 100
MAX_UNITS_PER_LINE = 1_000
MAX_FAULTS = 100


class Fault(NamedTuple):
    """One fault of a request: JSON pointer, stable code, and a detail that quotes nothing of the request."""

    pointer: str
    code: str
    detail: str


class OrderItem(Struct, frozen=True):
    """One product of a request; `pointer` is its first occurrence."""

    sku: str
    quantity: int
    pointer: str


class OrderRequest(Struct, frozen=True, kw_only=True):
    """A parsed request. Items with the same SKU are merged."""

    items: tuple[OrderItem, ...]
    client_order_number: str | None = None
    has_duplicate_check: bool = True
    currency: str | None = None


class PricedOrder(Struct, frozen=True):
    """The lines of an order at the products' current prices, all in one currency."""

    currency: str
    lines: tuple[TransactionLine, ...]


class InvalidRequestError(Exception):
    """The request has faults; nothing of it was stored."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(", ".join(fault.code for fault in faults))
        self.faults = faults


def parse_order_request(body: Mapping[str, Any]) -> OrderRequest:
    """Parse a request; raises `InvalidRequestError` with at most `MAX_FAULTS` faults.

    In an optional field, the empty string counts as absent.
    """
    faults: list[Fault] = []
    number = _parse_order_number(body.get("clientOrderNumber"), faults)
    has_duplicate_check = body.get("enableClientOrderNumberDupCheck") is not False
    currency = _parse_currency(body.get("payWithCurrency"), faults)
    items = _parse_items(body.get("products"), faults)
    if faults:
        raise InvalidRequestError(*faults[:MAX_FAULTS])
    return OrderRequest(
        items=items, client_order_number=number, has_duplicate_check=has_duplicate_check, currency=currency
    )


def is_same_order(request: OrderRequest, transaction: Transaction) -> bool:
    """Whether the request orders the same units in the same currency as the transaction."""
    quantities = {item.sku: item.quantity for item in request.items}
    return quantities == transaction.quantities and request.currency in (None, transaction.currency)


def price_order(request: OrderRequest, products: Mapping[str, Product]) -> PricedOrder:
    """Price a request with a copy of each product as it is now; raises `InvalidRequestError`."""
    unknown = [item for item in request.items if not _is_orderable(products.get(item.sku))]
    if unknown:
        raise InvalidRequestError(*_sku_faults(unknown, "UNKNOWN_SKU", "there is no such product"))
    currency = products[request.items[0].sku].currency if request.currency is None else request.currency
    mixed = [item for item in request.items if products[item.sku].currency != currency]
    if len(mixed) == len(request.items):
        detail = "none of the products is sold in this currency"
        raise InvalidRequestError(Fault("/payWithCurrency", "MIXED_CURRENCY", detail))
    if mixed:
        detail = "this product is sold in another currency than the others"
        raise InvalidRequestError(*_sku_faults(mixed, "MIXED_CURRENCY", detail))
    return PricedOrder(currency, tuple(_price_item(item, products[item.sku]) for item in request.items))


def _sku_faults(items: Sequence[OrderItem], code: str, detail: str) -> list[Fault]:
    return [Fault(f"{item.pointer}/sku", code, detail) for item in items]


def _is_orderable(product: Product | None) -> bool:
    return product is not None and not product.is_withdrawn


def _price_item(item: OrderItem, product: Product) -> TransactionLine:
    return TransactionLine(
        sku=item.sku,
        name=product.name,
        quantity=item.quantity,
        unit_price=product.unit_price,
        supplier=product.supplier,
    )


def _parse_order_number(value: object, faults: list[Fault]) -> str | None:
    if value is None or value == "":
        return None
    number = read_identifier(value)
    if isinstance(number, Invalid):
        faults.append(Fault("/clientOrderNumber", number.kind.value, f"clientOrderNumber {number.phrase}"))
        return None
    return number


def _parse_currency(value: object, faults: list[Fault]) -> str | None:
    if value is None or isinstance(value, str):
        return value.upper() if value else None
    faults.append(Fault("/payWithCurrency", "INVALID_TYPE", "payWithCurrency must be a string"))
    return None


def _parse_items(value: object, faults: list[Fault]) -> tuple[OrderItem, ...]:
    if value is None or value == []:
        faults.append(Fault("/products", "EMPTY_ORDER", "an order has at least one product"))
        return ()
    if not isinstance(value, list):
        faults.append(Fault("/products", "INVALID_TYPE", "products must be an array"))
        return ()
    items: dict[str, OrderItem] = {}
    for index, entry in enumerate(value):
        if len(faults) >= MAX_FAULTS:
            break
        item = _parse_item(entry, f"/products/{index}", faults)
        if item is None:
            continue
        first = items.get(item.sku)
        quantity = item.quantity + (first.quantity if first else 0)
        if quantity > MAX_UNITS_PER_LINE:
            faults.append(_invalid_quantity(item.pointer))
        items[item.sku] = OrderItem(item.sku, quantity, first.pointer if first else item.pointer)
    if len(items) > MAX_LINES:
        faults.append(Fault("/products", "TOO_MANY_LINES", f"an order has at most {MAX_LINES} different products"))
    return tuple(items.values())


def _parse_item(entry: object, pointer: str, faults: list[Fault]) -> OrderItem | None:
    if not isinstance(entry, dict):
        faults.append(Fault(pointer, "INVALID_TYPE", "each product must be an object"))
        return None
    sku = read_identifier(entry.get("sku")) if entry.get("sku") is not None else None
    if sku is None or isinstance(sku, Invalid):
        code, phrase = ("MISSING_FIELD", "is required") if sku is None else (sku.kind.value, sku.phrase)
        faults.append(Fault(f"{pointer}/sku", code, f"sku {phrase}"))
        return None
    found = entry.get("quantity")
    quantity = _parse_quantity(found)
    if quantity is None:
        is_number = isinstance(found, int | Decimal | HugeNumber) and not isinstance(found, bool)
        is_other_type = "quantity" in entry and not is_number
        faults.append(_invalid_quantity(pointer, f", not {describe_type(found)}" if is_other_type else ""))
        return None
    return OrderItem(sku, quantity, pointer)


def _parse_quantity(value: object) -> int | None:
    # Compared before it is converted: an integer such as -1e999999 takes most of a minute.
    if isinstance(value, Decimal) and value.is_finite() and 1 <= value <= MAX_UNITS_PER_LINE:
        value = int(value) if value == value.to_integral_value() else None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_UNITS_PER_LINE:
        return None
    return value


def _invalid_quantity(pointer: str, found: str = "") -> Fault:
    detail = f"the quantity of a product is a whole number from 1 to {MAX_UNITS_PER_LINE}{found}"
    return Fault(f"{pointer}/quantity", "INVALID_QUANTITY", detail)
