"""A request for codes: read, and checked against the products that there are."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from msgspec import Struct

from services.fulfilment.domain.product import Product
from services.fulfilment.domain.transaction import Transaction, TransactionLine
from services.values.identifiers import read_identifier
from services.values.invalid import Invalid

MAX_LINES = 100
MAX_UNITS_PER_LINE = 1_000
MAX_FAULTS = 100


class Fault(NamedTuple):
    """What is wrong with a request: where (JSON pointer), which (stable code), in words that echo nothing."""

    pointer: str
    code: str
    detail: str


class OrderItem(Struct, frozen=True):
    """One product of a request; `pointer` is where it first stands."""

    sku: str
    quantity: int
    pointer: str


class OrderRequest(Struct, frozen=True, kw_only=True):
    """A request that can be read. One product is one item, however often it stood in the request."""

    items: tuple[OrderItem, ...]
    client_order_number: str | None = None
    has_duplicate_check: bool = True
    currency: str | None = None


class InvalidRequestError(Exception):
    """The request cannot become a transaction; nothing is stored of it."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(", ".join(fault.code for fault in faults))
        self.faults = tuple(faults)


def parse_order_request(body: Mapping[str, Any]) -> OrderRequest:
    """The request; raises `Refused` with its faults, the first hundred of them where there are more."""
    faults: list[Fault] = []
    number = _number(body.get("clientOrderNumber"), faults)
    is_checked = body.get("enableClientOrderNumberDupCheck") is not False
    currency = _currency(body.get("payWithCurrency"), faults)
    items = _items(body.get("products"), faults)
    if faults:
        raise InvalidRequestError(faults[:MAX_FAULTS])
    return OrderRequest(items=items, client_order_number=number, has_duplicate_check=is_checked, currency=currency)


def is_same_order(wanted: OrderRequest, known: Transaction) -> bool:
    """Whether the request asks for what the transaction is."""
    quantities = {item.sku: item.quantity for item in wanted.items}
    return quantities == known.quantities and wanted.currency in (None, known.currency)


def price_order(wanted: OrderRequest, products: Mapping[str, Product]) -> tuple[str, tuple[TransactionLine, ...]]:
    """Currency and lines, with a copy of what each product is now; raises `Refused`."""
    unknown = [item for item in wanted.items if _is_unknown(products.get(item.sku))]
    if unknown:
        raise InvalidRequestError(
            [Fault(f"{item.pointer}/sku", "UNKNOWN_SKU", "there is no such product") for item in unknown]
        )
    currency = products[wanted.items[0].sku].currency if wanted.currency is None else wanted.currency
    mixed = [item for item in wanted.items if products[item.sku].currency != currency]
    if len(mixed) == len(wanted.items):
        raise InvalidRequestError(
            [Fault("/payWithCurrency", "MIXED_CURRENCY", "none of the products is sold in this currency")]
        )
    if mixed:
        detail = "this product is sold in another currency than the others"
        raise InvalidRequestError([Fault(f"{item.pointer}/sku", "MIXED_CURRENCY", detail) for item in mixed])
    return currency, tuple(_line(item, products[item.sku]) for item in wanted.items)


def _is_unknown(product: Product | None) -> bool:
    return product is None or product.is_withdrawn


def _line(item: OrderItem, product: Product) -> TransactionLine:
    return TransactionLine(
        sku=item.sku,
        name=product.name,
        quantity=item.quantity,
        unit_price=product.unit_price,
        supplier=product.supplier,
    )


def _number(value: object, faults: list[Fault]) -> str | None:
    if value is None:
        return None
    read = read_identifier(value)
    if isinstance(read, Invalid):
        faults.append(Fault("/clientOrderNumber", read.kind.value, f"clientOrderNumber {read.phrase}"))
        return None
    return read


def _currency(value: object, faults: list[Fault]) -> str | None:
    if value is None or isinstance(value, str):
        return value and value.upper()
    faults.append(Fault("/payWithCurrency", "INVALID_TYPE", "payWithCurrency must be a string"))
    return None


def _items(value: object, faults: list[Fault]) -> tuple[OrderItem, ...]:
    if value is None or value == []:
        faults.append(Fault("/products", "EMPTY_ORDER", "an order has at least one product"))
        return ()
    if not isinstance(value, list):
        faults.append(Fault("/products", "INVALID_TYPE", "products must be an array"))
        return ()
    found: dict[str, OrderItem] = {}
    for index, entry in enumerate(value):
        if len(faults) >= MAX_FAULTS:
            break
        item = _item(entry, f"/products/{index}", faults)
        if item is None:
            continue
        first = found.get(item.sku)
        quantity = item.quantity + (first.quantity if first else 0)
        if quantity > MAX_UNITS_PER_LINE:
            faults.append(_bad_quantity(item.pointer))
        found[item.sku] = OrderItem(item.sku, quantity, first.pointer if first else item.pointer)
    if len(found) > MAX_LINES:
        faults.append(Fault("/products", "TOO_MANY_LINES", f"an order has at most {MAX_LINES} different products"))
    return tuple(found.values())


def _item(entry: object, pointer: str, faults: list[Fault]) -> OrderItem | None:
    if not isinstance(entry, dict):
        faults.append(Fault(pointer, "INVALID_TYPE", "each product must be an object"))
        return None
    sku = read_identifier(entry.get("sku")) if entry.get("sku") is not None else None
    if sku is None or isinstance(sku, Invalid):
        code, phrase = ("MISSING_FIELD", "is required") if sku is None else (sku.kind.value, sku.phrase)
        faults.append(Fault(f"{pointer}/sku", code, f"sku {phrase}"))
        return None
    quantity = _quantity(entry.get("quantity"))
    if quantity is None:
        faults.append(_bad_quantity(pointer))
        return None
    return OrderItem(sku, quantity, pointer)


def _quantity(value: object) -> int | None:
    if (
        isinstance(value, Decimal)
        and value.is_finite()
        and value == value.to_integral_value()
        and value <= MAX_UNITS_PER_LINE
    ):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_UNITS_PER_LINE:
        return None
    return value


def _bad_quantity(pointer: str) -> Fault:
    detail = f"the quantity of a product is a whole number from 1 to {MAX_UNITS_PER_LINE}"
    return Fault(f"{pointer}/quantity", "INVALID_QUANTITY", detail)
