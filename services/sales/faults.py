"""Faults, the reasons why a record is rejected: a closed set of codes, and the message of each.

Messages name fields and bounds. They quote nothing that was sent, except the id of an unknown product.
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


# The same record, sent later, can be accepted.
_RETRYABLE = frozenset({FaultCode.FUTURE_DATE, FaultCode.PRODUCT_NOT_FOUND})


def make_fault(code: FaultCode, field: str, message: str) -> Fault:
    """Return a fault of the record itself; `field` is a JSON pointer."""
    return Fault(code.value, field, message, retryable=code in _RETRYABLE)


def missing_field(field: str) -> Fault:
    """Return the fault of a required field that is absent or null."""
    return make_fault(FaultCode.MISSING_FIELD, field, f"{_display_name(field)} is required")


def invalid_value(field: str, invalid: Invalid) -> Fault:
    """Return the fault of a field whose value is invalid."""
    return make_fault(FaultCode(invalid.kind.value), field, f"{_display_name(field)} {invalid.phrase}")


def product_not_found(field: str, product_id: str) -> Fault:
    """Return the fault of a product that is not in the site's catalogue."""
    message = f"No product is found for product ID {product_id}"
    return Fault(FaultCode.PRODUCT_NOT_FOUND.value, field, message, product_id=product_id, retryable=True)


def unprocessable() -> Fault:
    """Return the fault of a record that cannot be processed for reasons of the system, not of the record."""
    return Fault(FaultCode.UNPROCESSABLE.value, "", "The record could not be processed", level=ERROR)


def first_faults(faults: Iterable[Fault]) -> list[Fault]:
    """Return the faults that are reported of one record: the first 20."""
    return list(islice(faults, MAX_FAULTS))


def _display_name(pointer: str) -> str:
    """The last name in a JSON pointer, with a position where it points into a list."""
    *_, parent, last = ("", *pointer.split("/"))
    return f"{parent}[{last}]" if last.isdecimal() else last
