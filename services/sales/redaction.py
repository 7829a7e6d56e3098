"""A refused record as it was received, without personal data."""

from decimal import Decimal
from typing import Any

import msgspec

from services.sales.fields import validate_hash
from services.values.decimals import HugeNumber
from services.values.pii import REMOVED, is_card_number, is_personal_data

MAX_RECEIVED_BYTES = 512 * 1024
HASHES = frozenset({"emailHash", "ccHash"})


def redacted_json(
    record: dict[str, Any], *, known: frozenset[str], known_in_lines: frozenset[str], size: int
) -> str | None:
    """The record as JSON text; None for one whose text was so large (`size`, in bytes) that nobody should keep it.

    A hash that is refused is replaced; so is personal data in whatever no rule looks at: unknown fields, their names,
    and values where they do not belong.
    """
    if size > MAX_RECEIVED_BYTES:
        return None
    clean = {_name(name): _field(name, value, known, known_in_lines) for name, value in record.items()}
    return _encode(clean).decode()


def displayable_name(name: str) -> str:
    """The name of an unknown field as it may be told to its sender: short, visible, not personal."""
    if is_personal_data(name):
        return REMOVED
    return "".join(char if char.isprintable() else "?" for char in name[:64])


def _field(name: str, value: Any, known: frozenset[str], known_in_lines: frozenset[str]) -> Any:
    if name in HASHES and name in known:
        return value if value is None or (isinstance(value, str) and validate_hash(value) is None) else REMOVED
    if name == "lineItems" and isinstance(value, list):
        return [_line(line, known_in_lines) for line in value]
    if name in known and not isinstance(value, dict | list):
        return value
    return _anything(value)


def _line(line: Any, known_in_lines: frozenset[str]) -> Any:
    if not isinstance(line, dict):
        return _anything(line)
    return {_name(name): _field(name, value, known_in_lines, frozenset()) for name, value in line.items()}


def _anything(value: Any) -> Any:
    match value:
        case str():
            return REMOVED if is_personal_data(value) else value
        case dict():
            return {_name(name): _anything(child) for name, child in value.items()}
        case list():
            return [_anything(child) for child in value]
        case bool() | None:
            return value
        case int() | Decimal():
            return REMOVED if _is_card(value) else value
    return value


def _is_card(number: int | Decimal) -> bool:
    # Bounded first: numbers of any size come here.
    return 10**12 <= number < 10**19 and number == int(number) and is_card_number(str(int(number)))


def _name(name: str) -> str:
    return REMOVED if is_personal_data(name) else name


def _literal(value: object) -> msgspec.Raw:
    if isinstance(value, HugeNumber):
        return msgspec.Raw(value.literal.encode())
    raise TypeError("not a value from JSON")


_encode = msgspec.json.Encoder(decimal_format="number", enc_hook=_literal).encode
