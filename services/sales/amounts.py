"""Amounts of money in records that are read and checked by generated code; prices repeat, so the latest are cached."""

from decimal import Decimal
from functools import lru_cache

from services.values.decimals import HugeNumber, read_amount, read_number, validate_amount
from services.values.invalid import Invalid

_CACHE_SIZE = 16_384
# Of a common number.
_MAX_LITERAL_LENGTH = 24


@lru_cache(maxsize=_CACHE_SIZE)
def read_literal(literal: str) -> Decimal:
    """Return the amount of a JSON number with a fraction or an exponent; raises `ValueError` for an uncommon one.

    What is refused is not cached: it may be long.
    """
    if len(literal) > _MAX_LITERAL_LENGTH:
        raise ValueError("a long number")
    return _require_amount(read_number(literal))


def amount_from_integer(number: object) -> Decimal:
    """Return the amount of a JSON integer. Raises `ValueError` for anything else."""
    if type(number) is not int:
        raise ValueError("not an integer")
    return _require_amount(number)


def _require_amount(number: int | Decimal | HugeNumber) -> Decimal:
    amount = read_amount(number)
    if isinstance(amount, Invalid):
        raise ValueError("not an amount")  # noqa: TRY004 - the number is wrong, not its type
    return amount


@lru_cache(maxsize=_CACHE_SIZE)
def is_valid_amount(amount: Decimal) -> bool:
    """Return whether an amount is valid."""
    return validate_amount(amount) is None
