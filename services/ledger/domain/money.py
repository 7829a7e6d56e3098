"""Amounts of money as integers of a millionth, so that sums are exact whatever their size."""

from decimal import Decimal

from services.values.decimals import FRACTION_DIGITS

MICROS = 10**FRACTION_DIGITS


def to_micros(amount: Decimal) -> int:
    """Return a valid amount, which has at most six fraction digits, in millionths."""
    # Exact: at most 18 digits, and 28 fit.
    return int(amount * MICROS)


def format_amount(micros: int) -> str:
    """Return the amount as a decimal text without trailing zeros."""
    units, rest = divmod(abs(micros), MICROS)
    sign = "-" if micros < 0 else ""
    return f"{sign}{units}.{rest:06d}".rstrip("0") if rest else f"{sign}{units}"
