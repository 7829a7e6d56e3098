"""The result of reading an invalid value."""

from enum import StrEnum
from typing import NamedTuple


class InvalidKind(StrEnum):
    """Why a value is invalid; the values are the codes in error responses."""

    TYPE = "INVALID_TYPE"
    VALUE = "INVALID_VALUE"
    DATE = "INVALID_DATE"
    FUTURE = "FUTURE_DATE"
    CURRENCY = "INVALID_CURRENCY"
    QUANTITY = "INVALID_QUANTITY"
    PERSONAL = "PII_NOT_HASHED"


class Invalid(NamedTuple):
    """An invalid value. `phrase` continues a sentence that begins with the field's name; it never quotes the value."""

    kind: InvalidKind
    phrase: str

    def but_found(self, value: object) -> "Invalid":
        """Add which type of JSON value was sent instead."""
        return self._replace(phrase=f"{self.phrase}, not {describe_type(value)}")


_TYPE_NAMES = {
    str: "a text",
    bool: "a boolean",
    int: "a number",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def describe_type(value: object) -> str:
    """Return the type of a value that was decoded from JSON; integers alone are `int`."""
    return _TYPE_NAMES.get(type(value), "a number with a fraction or an exponent")
