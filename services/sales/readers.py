"""JSON values to canonical values, one reader for each kind of field. The limits are those of `fields`."""

from decimal import Decimal
from typing import Any

from services.sales import fields
from services.sales.records import MODES
from services.values.decimals import HugeNumber
from services.values.identifiers import read_identifier, read_text
from services.values.invalid import Invalid, InvalidKind

_REGION = Invalid(InvalidKind.VALUE, "must be a signed 64-bit integer")
_SEGMENTS = Invalid(InvalidKind.TYPE, "must be an array of strings or numbers, or one comma-separated string")


def channel(value: object) -> str | Invalid:
    """A free text."""
    return read_text(value, max_length=fields.MAX_CHANNEL_LENGTH)


def user_id(value: object) -> str | Invalid:
    """A longer id."""
    return read_identifier(value, max_length=fields.MAX_USER_ID_LENGTH)


def store_id(value: object) -> str | Invalid:
    """A longer id."""
    return read_identifier(value, max_length=fields.MAX_STORE_ID_LENGTH)


def payment_method(value: object) -> str | Invalid:
    """A free text."""
    return read_text(value, max_length=fields.MAX_PAYMENT_METHOD_LENGTH)


def coupon_code(value: object) -> str | Invalid:
    """A free text."""
    return read_text(value, max_length=fields.MAX_COUPON_CODE_LENGTH)


def credit_type(value: object) -> str | Invalid:
    """A free text."""
    return read_text(value, max_length=fields.MAX_CREDIT_TYPE_LENGTH)


def hashed(value: object) -> str | Invalid:
    """A hash, and nothing that it should hide."""
    if not isinstance(value, str):
        return Invalid(InvalidKind.TYPE, "must be a string")
    return fields.validate_hash(value) or value


def mode(value: object) -> str | Invalid:
    """One of the modes, in any case."""
    if not isinstance(value, str):
        return Invalid(InvalidKind.TYPE, "must be a string")
    word = value.lower() if value.isascii() else value
    return word if word in MODES else Invalid(InvalidKind.VALUE, "must be offline or online")


def region_id(value: object) -> int | Invalid:
    """A signed 64-bit integer, as a number without fraction or exponent."""
    if isinstance(value, HugeNumber) and value.is_integer:
        return _REGION
    if not isinstance(value, int) or isinstance(value, bool):
        return Invalid(InvalidKind.TYPE, "must be an integer")
    if not fields.MIN_REGION_ID <= value <= fields.MAX_REGION_ID:
        return _REGION
    return value


def segments(value: object) -> list[str] | Invalid:
    """Texts from an array of strings or numbers, or from one string with commas, whose empty parts do not count."""
    if isinstance(value, list) and (wrong := fields.validate_segment_count(value)):
        return wrong
    if isinstance(value, str):
        texts = [part.strip() for part in value.split(",") if part.strip()]
    elif isinstance(value, list):
        if not all(isinstance(item, str | int | Decimal | HugeNumber) and not isinstance(item, bool) for item in value):
            return _SEGMENTS
        texts = [_segment(item) for item in value]
    else:
        return _SEGMENTS
    return fields.validate_segments(texts) or texts


def quantity(value: object) -> int | Invalid:
    """A positive 32-bit integer, as any number that has such a value: 2.0 is 2."""
    if isinstance(value, Decimal):
        # Bounded before it is computed: the exponent is the client's.
        value = int(value) if 1 <= value <= fields.MAX_QUANTITY and value == value.to_integral_value() else None
    if not isinstance(value, int) or isinstance(value, bool):
        return fields.INVALID_QUANTITY
    return fields.validate_quantity(value) or value


def lines(value: object) -> list[Any] | Invalid:
    """An array of lines, not empty and not too long; the lines are not looked at."""
    if not isinstance(value, list):
        return Invalid(InvalidKind.TYPE, "must be an array")
    return fields.validate_line_count(value) or value


def _segment(item: str | int | Decimal | HugeNumber) -> str:
    if isinstance(item, int):
        text = read_identifier(item, max_length=fields.MAX_SEGMENT_LENGTH)
        return "9" * (fields.MAX_SEGMENT_LENGTH + 1) if isinstance(text, Invalid) else text
    return item.literal if isinstance(item, HugeNumber) else str(item)
