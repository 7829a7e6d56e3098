"""Products and codes to load: parsed from JSON, for the API and the command line."""

import re
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
MAX_CODE_FAULTS = 20
# A day's total must fit into twelve digits before the decimal point.
MAX_UNIT_PRICE = Decimal(100_000)

# Spaces, line breaks and invisible characters, which are copied along with codes.
_BLANKS = " \t\r\n\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}\N{ZERO WIDTH SPACE}\N{ZERO WIDTH NO-BREAK SPACE}"
_SCIENTIFIC = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?E\+[0-9]{1,3}|[+-]?[0-9]+[.,][0-9]+E-?[0-9]{1,3}", re.IGNORECASE)


def parse_product(
    sku: str, body: Mapping[str, Any], currencies: AbstractSet[str], suppliers: AbstractSet[str]
) -> Product:
    """Parse a product from one of the suppliers; raises `InvalidRequestError` with all its faults.

    In an optional field, null and the empty string count as absent.
    """
    body = {name: value for name, value in body.items() if value is not None and value != ""}
    faults: list[Fault] = []
    fields: dict[str, Any] = {
        "/sku": read_identifier(sku),
        "/name": _parse_name(body.get("name")),
        "/unitPrice": _parse_price(body.get("unitPrice")),
        "/currency": read_currency(body.get("currency"), currencies),
        "/supplier": _parse_supplier(body.get("supplier", "stock"), suppliers),
    }
    is_withdrawn = body.get("withdrawn", False)
    if not isinstance(is_withdrawn, bool):
        faults.append(Fault("/withdrawn", "INVALID_TYPE", "withdrawn must be true or false"))
    for pointer, value in fields.items():
        if isinstance(value, Invalid):
            faults.append(Fault(pointer, value.kind.value, f"{pointer[1:]} {value.phrase}"))
    if faults:
        raise InvalidRequestError(*faults)
    return Product(
        sku=fields["/sku"],
        name=fields["/name"],
        unit_price=fields["/unitPrice"],
        currency=fields["/currency"],
        supplier=fields["/supplier"],
        is_withdrawn=is_withdrawn,
    )


def parse_codes(value: object, *, pointer: str = "/codes") -> Sequence[Code]:
    """Parse codes, strings or objects with `redeemCode` and optionally `pinCode`.

    Raises `InvalidRequestError` with at most `MAX_CODE_FAULTS` faults, which quote no code.
    """
    if not isinstance(value, list) or not value:
        raise InvalidRequestError(Fault(pointer, "MISSING_FIELD", "at least one code is needed"))
    if len(value) > MAX_CODES_PER_REQUEST:
        detail = f"at most {MAX_CODES_PER_REQUEST} codes may be sent at once"
        raise InvalidRequestError(Fault(pointer, "TOO_MANY_CODES", detail))
    pointers = [f"{pointer}/{index}" for index in range(len(value))]
    parsed = refuse_other_pins(list(zip(pointers, map(parse_code, value, pointers), strict=True)))
    faults = [item for item in parsed if isinstance(item, Fault)]
    if faults:
        raise InvalidRequestError(*faults[:MAX_CODE_FAULTS])
    return [item for item in parsed if isinstance(item, Code)]


def parse_code(entry: object, pointer: str) -> Code | Fault:
    """Parse one code. Blanks around code and PIN are not part of them."""
    if isinstance(entry, str):
        code = _read_code(entry)
        return _fault(pointer, "code", code) if isinstance(code, Invalid) else Code(code)
    if not isinstance(entry, dict):
        return _fault(pointer, "code", Invalid(InvalidKind.TYPE, "must be a string or an object"))
    code = _read_code(entry.get("redeemCode"))
    if isinstance(code, Invalid):
        return _fault(f"{pointer}/redeemCode", "code", code)
    pin = None if entry.get("pinCode") is None else _read_code(entry["pinCode"])
    if isinstance(pin, Invalid):
        return _fault(f"{pointer}/pinCode", "PIN", pin)
    return Code(code, pin)


def refuse_other_pins(parsed: Sequence[tuple[str, Code | Fault]]) -> Sequence[Code | Fault]:
    """Replace each code that an earlier place has with another PIN by a fault; which of them is right is unknown.

    The same code with the same PIN counts once.
    """
    first: dict[str, tuple[str, Code]] = {}
    return [_refuse_other_pin(place, item, first) if isinstance(item, Code) else item for place, item in parsed]


def _refuse_other_pin(place: str, code: Code, first: dict[str, tuple[str, Code]]) -> Code | Fault:
    first_place, first_code = first.setdefault(code.redeem_code, (place, code))
    if first_code.pin_code is None and code.pin_code is not None:
        first[code.redeem_code] = (place, code)
    if None in (first_code.pin_code, code.pin_code) or first_code.pin_code == code.pin_code:
        return code
    return Fault(place, "INVALID_VALUE", f"{first_place} has the same code with another PIN")


def _parse_name(value: object) -> str | Invalid:
    name = read_text(value, max_length=256)
    return Invalid(InvalidKind.VALUE, "must not be empty") if isinstance(name, str) and not name.strip() else name


def _parse_price(value: object) -> Decimal | Invalid:
    price = read_amount(value)
    if isinstance(price, Decimal) and price > MAX_UNIT_PRICE:
        return Invalid(InvalidKind.VALUE, f"must not be greater than {MAX_UNIT_PRICE}")
    return price


def _parse_supplier(value: object, suppliers: AbstractSet[str]) -> str | Invalid:
    if not isinstance(value, str):
        return Invalid(InvalidKind.TYPE, "must be a string")
    # Orders of a product with an unknown supplier would stay pending until their deadline.
    return value if value in suppliers else Invalid(InvalidKind.VALUE, f"must be one of {', '.join(sorted(suppliers))}")


def _read_code(value: object) -> str | Invalid:
    code = read_identifier(value.strip(_BLANKS) if isinstance(value, str) else value, max_length=MAX_CODE_LENGTH)
    if isinstance(code, str) and _SCIENTIFIC.fullmatch(code):
        return Invalid(InvalidKind.VALUE, "must not be a number in scientific notation, to which spreadsheets round")
    return code


def _fault(pointer: str, field: str, invalid: Invalid) -> Fault:
    return Fault(pointer, invalid.kind.value, f"the {field} {invalid.phrase}")
