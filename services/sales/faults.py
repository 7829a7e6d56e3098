"""Why a record is not accepted: a closed set of codes, and how each is put into words.

Messages name fields and limits. They quote nothing that was sent, except the id of an unknown product.
"""

from collections.abc import Iterable
from enum import StrEnum
from itertools import islice

from services.jobs.events import ERROR, Fault
from services.values.invalid import Invalid

MAX_FAULTS = 20


class FaultCode(StrEnum):
    """Stable codes of faults. A code is never given another meaning."""

    MISSING_FIELD = "MISSING_FIELD"
    INVALID_TYPE = "INVALID_TYPE"
    INVALID_VALUE = "INVALID_VALUE"
    INVALID_DATE = "INVALID_DATE"
    FUTURE_DATE = "FUTURE_DATE"
    INVALID_CURRENCY = "INVALID_CURRENCY"
    INVALID_QUANTITY = "INVALID_QUANTITY"
    ALIAS_CONFLICT = "ALIAS_CONFLICT"
    MODE_CONFLICT = "MODE_CONFLICT"
    USER_ID_MISMATCH = "USER_ID_MISMATCH"
    AMBIGUOUS_RECORD = "AMBIGUOUS_RECORD"
    DUPLICATE_IN_BATCH = "DUPLICATE_IN_BATCH"
    PII_NOT_HASHED = "PII_NOT_HASHED"
    PRODUCT_NOT_FOUND = "PRODUCT_NOT_FOUND"
    UNPROCESSABLE = "UNPROCESSABLE"


# Time may heal these: the same record, sent again, can be accepted.
_RETRYABLE = frozenset({FaultCode.FUTURE_DATE, FaultCode.PRODUCT_NOT_FOUND})


def make_fault(code: FaultCode, field: str, message: str) -> Fault:
    """A fault of the record itself."""
    return Fault(code.value, field, message, retryable=code in _RETRYABLE)


def missing_field(field: str) -> Fault:
    """A mandatory field is absent or null."""
    return make_fault(FaultCode.MISSING_FIELD, field, f"{_name(field)} is required")


def invalid_value(field: str, invalid: Invalid) -> Fault:
    """A field's value does not fit."""
    return make_fault(FaultCode(invalid.kind.value), field, f"{_name(field)} {invalid.phrase}")


def product_not_found(field: str, product_id: str) -> Fault:
    """The catalogue of the site does not hold a product."""
    message = f"No product is found for product ID {product_id}"
    return Fault(FaultCode.PRODUCT_NOT_FOUND.value, field, message, product_id=product_id, retryable=True)


def unprocessable() -> Fault:
    """The system, not the record, is at fault."""
    return Fault(FaultCode.UNPROCESSABLE.value, "", "The record could not be processed", level=ERROR)


def first_faults(faults: Iterable[Fault]) -> list[Fault]:
    """As many faults as are reported of one record."""
    return list(islice(faults, MAX_FAULTS))


def _name(field: str) -> str:
    """What a message calls the value at a pointer: the last name in it, with a position where it is a list's."""
    *_, parent, last = ("", *field.split("/"))
    return f"{parent}[{last}]" if last.isdecimal() else last
