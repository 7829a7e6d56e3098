"""A rejected record as it was received, without personal data."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from services.sales.field_types import Hash
from services.sales.fields import Field, Lines
from services.values.decimals import HugeNumber
from services.values.pii import REMOVED, is_card_number, is_personal_data

MAX_RECEIVED_BYTES = 512 * 1024
MAX_SHOWN_NAME_LENGTH = 64

_CONTAINERS = (dict, list)


def redacted_json(record: Mapping[str, Any], known: Mapping[str, Field], *, size: int) -> str | None:
    """Return the record as JSON text; None if its original text (`size`, in bytes) is too large to keep.

    An invalid hash is replaced; so is personal data where no rule looks for it: in unknown fields, their names, and
    values of the wrong type.
    """
    if size > MAX_RECEIVED_BYTES:
        return None
    redacted = _redact_object(record, known)
    try:
        return _encode(redacted).decode()
    except UnicodeEncodeError:
        return _encode(_replace_surrogates(redacted)).decode()


def displayable_name(name: str) -> str:
    """Return the name of an unknown field as it may be shown to its sender: short, printable, not personal."""
    if is_personal_data(name):
        return REMOVED
    return "".join(char if char.isprintable() else "?" for char in name[:MAX_SHOWN_NAME_LENGTH])


def _redact_object(values: Mapping[str, Any], known: Mapping[str, Field]) -> dict[str, Any]:
    return {_redact_name(name): _redact(known.get(name), value) for name, value in values.items()}


def _redact(field: Field | None, value: Any) -> Any:
    if field is None:
        return _redact_unknown(value)
    if field.is_personal:
        return value if value is None or _is_valid_hash(field, value) else REMOVED
    if isinstance(field.type, Lines) and isinstance(value, list):
        known = field.type.table.sent
        return [_redact_object(line, known) if isinstance(line, dict) else _redact_unknown(line) for line in value]
    return _redact_unknown(value) if isinstance(value, _CONTAINERS) else value


def _is_valid_hash(field: Field, value: object) -> bool:
    return isinstance(field.type, Hash) and isinstance(value, str) and field.type.validate(value) is None


def _redact_unknown(value: Any) -> Any:
    match value:
        case str():
            return REMOVED if is_personal_data(value) else value
        case dict():
            return {_redact_name(name): _redact_unknown(child) for name, child in value.items()}
        case list():
            return [_redact_unknown(child) for child in value]
        case bool() | None:
            return value
        case int() | Decimal():
            return REMOVED if _is_card(value) else value
    return value


def _is_card(number: int | Decimal) -> bool:
    # Compared first: the number may be of any size.
    return 10**12 <= number < 10**19 and number == int(number) and is_card_number(str(int(number)))


def _redact_name(name: str) -> str:
    return REMOVED if is_personal_data(name) else name


def _replace_surrogates(value: Any) -> Any:
    """Replace lone surrogates, which cannot be encoded, by U+FFFD."""
    match value:
        case str():
            return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        case dict():
            return {_replace_surrogates(name): _replace_surrogates(child) for name, child in value.items()}
        case list():
            return [_replace_surrogates(child) for child in value]
    return value


def _to_raw(value: object) -> msgspec.Raw:
    if isinstance(value, HugeNumber):
        return msgspec.Raw(value.literal.encode())
    raise TypeError("not a value from JSON")


_encode = msgspec.json.Encoder(decimal_format="number", enc_hook=_to_raw).encode
