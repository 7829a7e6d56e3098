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
