"""Identifiers and free texts: bounded, and without control characters."""

import re

from services.values.decimals import HugeNumber
from services.values.invalid import Kind, Wrong

LONGEST_ID = 128
_LONGEST_INTEGER_BITS = 8192

# Unicode category Cc: all there are.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


def text_wrong(text: str, *, longest: int, shortest: int = 0) -> Wrong | None:
    """What is wrong with a text that is already a string, or None."""
    if len(text) < shortest:
        return Wrong(Kind.VALUE, "must not be empty")
    if len(text) > longest:
        return Wrong(Kind.VALUE, f"must not be longer than {longest} characters")
    if not text.isprintable() and _CONTROL.search(text):
        return Wrong(Kind.VALUE, "must not contain control characters")
    return None


def read_text(value: object, *, longest: int) -> str | Wrong:
    """A free string of at most `longest` characters."""
    if not isinstance(value, str):
        return Wrong(Kind.TYPE, "must be a string")
    return text_wrong(value, longest=longest) or value


def read_identifier(value: object, *, longest: int = LONGEST_ID) -> str | Wrong:
    """A non-empty string, or an integer, which becomes its decimal string with all its digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        # Python refuses to print integers of thousands of digits.
        value = str(value) if value.bit_length() < _LONGEST_INTEGER_BITS else "9" * (longest + 1)
    if isinstance(value, HugeNumber) and value.is_integer:
        value = value.literal
    if not isinstance(value, str):
        return Wrong(Kind.TYPE, "must be a string or an integer")
    return text_wrong(value, longest=longest, shortest=1) or value
