"""Amounts of money: exact decimals, never a float, never rounded."""

import re
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation, Overflow

from services.values.invalid import Invalid, InvalidKind

FRACTION_DIGITS = 6
INTEGER_DIGITS = 12
MICRO = Decimal("0.000001")

# A JSON number in a string. Longer strings are rejected unread, so that parsing stays cheap.
_NUMERIC = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_MAX_TEXT_LENGTH = 400
# The digits of an amount; raises where rounding would be needed or the number does not fit.
_EXACT = Context(
    prec=INTEGER_DIGITS + FRACTION_DIGITS, Emax=999_999, Emin=-999_999, traps=[Inexact, InvalidOperation, Overflow]
)
_quantize = _EXACT.quantize

_TYPE = Invalid(InvalidKind.TYPE, "must be a number or a numeric string")
_NUMBER = Invalid(InvalidKind.VALUE, "must be a decimal number")
_NEGATIVE = Invalid(InvalidKind.VALUE, "must not be negative")
_DIGITS = Invalid(
    InvalidKind.VALUE,
    f"must have at most {INTEGER_DIGITS} integer digits and at most {FRACTION_DIGITS} fraction digits",
)


class HugeNumber:
    """A JSON number that is too large to compute with, as a literal."""

    __slots__ = ("literal",)

    def __init__(self, literal: str) -> None:
        self.literal = literal

    @property
    def is_integer(self) -> bool:
        """Whether the literal has neither fraction nor exponent."""
        return self.literal.removeprefix("-").isdecimal()


def read_number(literal: str) -> Decimal | HugeNumber:
    """Return the exact value of a JSON number with a fraction or an exponent."""
    try:
        return Decimal(literal)
    except DecimalException:
        return HugeNumber(literal)


def quantize(amount: Decimal) -> Decimal:
    """Return the amount with exactly six fraction digits; raises `DecimalException` if it has too many digits.

    Cheap for any exponent: no intermediate result is longer than an amount. NaN remains NaN.
    """
    return _quantize(amount, MICRO)


def validate_amount(amount: Decimal) -> Invalid | None:
    """Validate an amount."""
    result = _canonical_amount(amount)
    return result if isinstance(result, Invalid) else None


def read_amount(value: object) -> Decimal | Invalid:
    """Return a canonical, non-negative amount from a JSON number (decoded as int or Decimal) or a numeric string."""
    if isinstance(value, Decimal):
        return _canonical_amount(value)
    if isinstance(value, str):
        return _from_text(value)
    if isinstance(value, HugeNumber):
        return _DIGITS
    if isinstance(value, int) and not isinstance(value, bool):
        # Integers of thousands of digits are slow to convert, and out of bounds anyway.
        return _canonical_amount(Decimal(value)) if abs(value) < 10**18 else _DIGITS
    return _TYPE.but_found(value)


def strip_trailing_zeros(amount: Decimal) -> Decimal:
    """Return a valid amount without trailing zeros or exponent."""
    text = f"{quantize(abs(amount)):f}".rstrip("0").rstrip(".")
    return Decimal(text)


def format_amount(amount: Decimal, *, separator: str = "") -> str:
    """Format an amount without exponent, with all of its decimals, at least two; `separator` is between thousands."""
    whole, _, fraction = f"{amount.normalize():{separator}f}".partition(".")
    return f"{whole}.{fraction:0<2}"


def _canonical_amount(amount: Decimal) -> Decimal | Invalid:
    if not amount.is_finite():
        return _NUMBER
    if amount < 0:
        return _NEGATIVE
    try:
        # Minus zero becomes zero.
        return quantize(amount).copy_abs()
    except DecimalException:
        return _DIGITS


def _from_text(text: str) -> Decimal | Invalid:
    if len(text) > _MAX_TEXT_LENGTH or not _NUMERIC.fullmatch(text):
        return _NUMBER
    number = read_number(text)
    return _canonical_amount(number) if isinstance(number, Decimal) else _DIGITS
