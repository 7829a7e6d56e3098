"""Products and codes as an operator or a client with the right to do so brings them."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import Any

from services.fulfilment.domain.code import Code
from services.fulfilment.domain.order_request import Fault, InvalidRequestError
from services.fulfilment.domain.product import Product
from services.values.currencies import read_currency
from services.values.decimals import read_amount
from services.values.identifiers import read_identifier, read_text
from services.values.invalid import Invalid, InvalidKind

MAX_CODES_PER_REQUEST = 10_000
MAX_CODE_LENGTH = 512
# A day's total must fit into twelve digits before the point.
MAX_UNIT_PRICE = Decimal(100_000)


def parse_product(
    sku: str, body: Mapping[str, Any], currencies: AbstractSet[str], suppliers: AbstractSet[str]
) -> Product:
    """A product from one of these suppliers; raises `Refused` with all its faults."""
    faults: list[Fault] = []
    read = {
        "/sku": read_identifier(sku),
        "/name": _name(body.get("name")),
        "/unitPrice": _price(body.get("unitPrice")),
        "/currency": read_currency(body.get("currency"), currencies),
        "/supplier": _supplier(body.get("supplier", "stock"), suppliers),
    }
    is_withdrawn = body.get("withdrawn", False)
    if not isinstance(is_withdrawn, bool):
        faults.append(Fault("/withdrawn", "INVALID_TYPE", "withdrawn must be true or false"))
    for pointer, value in read.items():
        if isinstance(value, Invalid):
            faults.append(Fault(pointer, value.kind.value, f"{pointer[1:]} {value.phrase}"))
    if faults:
        raise InvalidRequestError(faults)
    checked: dict[str, Any] = read
    return Product(
        sku=checked["/sku"],
        name=checked["/name"],
        unit_price=checked["/unitPrice"],
        currency=checked["/currency"],
        supplier=checked["/supplier"],
        is_withdrawn=is_withdrawn,
    )


def parse_codes(value: object, *, pointer: str = "/codes") -> Sequence[Code]:
    """Codes: texts, or objects with `redeemCode` and perhaps `pinCode`; raises `Refused`, which quotes none."""
    if not isinstance(value, list) or not value:
        raise InvalidRequestError([Fault(pointer, "MISSING_FIELD", "at least one code is needed")])
    if len(value) > MAX_CODES_PER_REQUEST:
        raise InvalidRequestError(
            [Fault(pointer, "TOO_MANY_CODES", f"at most {MAX_CODES_PER_REQUEST} codes may be sent at once")]
        )
    read = [_code(entry, f"{pointer}/{index}") for index, entry in enumerate(value)]
    faults = [one for one in read if isinstance(one, Fault)]
    if faults:
        raise InvalidRequestError(faults[:20])
    return [one for one in read if isinstance(one, Code)]


def _name(value: object) -> str | Invalid:
    name = read_text(value, max_length=256)
    return Invalid(InvalidKind.VALUE, "must not be empty") if isinstance(name, str) and not name.strip() else name


def _price(value: object) -> Decimal | Invalid:
    price = read_amount(value)
    if isinstance(price, Decimal) and price > MAX_UNIT_PRICE:
        return Invalid(InvalidKind.VALUE, f"must not be greater than {MAX_UNIT_PRICE}")
    return price


def _supplier(value: object, known: AbstractSet[str]) -> str | Invalid:
    if not isinstance(value, str):
        return Invalid(InvalidKind.TYPE, "must be a string")
    # Orders of a product whose supplier nobody knows would wait until they are out of stock.
    return value if value in known else Invalid(InvalidKind.VALUE, f"must be one of {', '.join(sorted(known))}")


def _code(entry: object, pointer: str) -> Code | Fault:
    if isinstance(entry, str):
        code = read_identifier(entry, max_length=MAX_CODE_LENGTH)
        return _fault(pointer, "code", code) if isinstance(code, Invalid) else Code(code)
    if not isinstance(entry, dict):
        return _fault(pointer, "code", Invalid(InvalidKind.TYPE, "must be a string or an object"))
    code = read_identifier(entry.get("redeemCode"), max_length=MAX_CODE_LENGTH)
    if isinstance(code, Invalid):
        return _fault(f"{pointer}/redeemCode", "code", code)
    pin = None if entry.get("pinCode") is None else read_identifier(entry["pinCode"], max_length=MAX_CODE_LENGTH)
    if isinstance(pin, Invalid):
        return _fault(f"{pointer}/pinCode", "PIN", pin)
    return Code(code, pin)


def _fault(pointer: str, what: str, wrong: Invalid) -> Fault:
    return Fault(pointer, wrong.kind.value, f"the {what} {wrong.phrase}")
