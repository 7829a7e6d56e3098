"""Identifiers and free text: bounded, without control characters."""

import re

from services.values.decimals import HugeNumber
from services.values.invalid import Invalid, InvalidKind

MAX_ID_LENGTH = 128
_MAX_INTEGER_BITS = 8192

# Unicode categories Cc and Cs, complete.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
NOT_A_STRING = Invalid(InvalidKind.TYPE, "must be a string")
LONE_SURROGATE = Invalid(InvalidKind.VALUE, "must not contain half of a surrogate pair")


def validate_text(text: str, *, max_length: int, min_length: int = 0) -> Invalid | None:
    """Validate a string."""
    if len(text) < min_length:
        return Invalid(InvalidKind.VALUE, "must not be empty")
    if len(text) > max_length:
        return Invalid(InvalidKind.VALUE, f"must not be longer than {max_length} characters, but has {len(text)}")
    if not text.isprintable():
        if _CONTROL.search(text):
            return Invalid(InvalidKind.VALUE, "must not contain control characters")
        if has_lone_surrogate(text):
            return LONE_SURROGATE
    return None


def has_lone_surrogate(text: str) -> bool:
    """Whether the text contains a lone surrogate, which no encoding can write."""
    return _SURROGATE.search(text) is not None


def read_text(value: object, *, max_length: int) -> str | Invalid:
    """Return a string of at most `max_length` characters."""
    if not isinstance(value, str):
        return NOT_A_STRING.but_found(value)
    return validate_text(value, max_length=max_length) or value


def read_identifier(value: object, *, max_length: int = MAX_ID_LENGTH) -> str | Invalid:
    """Return a non-empty string; an integer becomes its decimal string."""
    if isinstance(value, int) and not isinstance(value, bool):
        # Python refuses to format integers of thousands of digits.
        value = str(value) if value.bit_length() < _MAX_INTEGER_BITS else "9" * (max_length + 1)
    if isinstance(value, HugeNumber) and value.is_integer:
        value = value.literal
    if not isinstance(value, str):
        return Invalid(InvalidKind.TYPE, "must be a string or an integer").but_found(value)
    return validate_text(value, max_length=max_length, min_length=1) or value
