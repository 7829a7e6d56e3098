"""What a reader answers when a value does not fit."""

from enum import StrEnum
from typing import NamedTuple


class InvalidKind(StrEnum):
    """In which way a value does not fit; spelled as the codes that callers report."""

    TYPE = "INVALID_TYPE"
    VALUE = "INVALID_VALUE"
    DATE = "INVALID_DATE"
    FUTURE = "FUTURE_DATE"
    CURRENCY = "INVALID_CURRENCY"
    QUANTITY = "INVALID_QUANTITY"
    PERSONAL = "PII_NOT_HASHED"


class Invalid(NamedTuple):
    """A value that does not fit. `phrase` continues a sentence that starts with the field's name; it echoes nothing."""

    kind: InvalidKind
    phrase: str
