"""Amounts of money: exact, never a float, never rounded."""

import re
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation, Overflow

from services.values.invalid import Invalid, InvalidKind

FRACTION_DIGITS = 6
INTEGER_DIGITS = 12
MICRO = Decimal("0.000001")

# A JSON number, in a string. Longer texts are not read at all, so that reading stays cheap.
_NUMERIC = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_MAX_TEXT_LENGTH = 400
# Holds exactly the digits that an amount may have: what needs rounding or does not fit, raises.
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
    """A JSON number too large to compute with, as it was written."""

    __slots__ = ("literal",)

    def __init__(self, literal: str) -> None:
        self.literal = literal

    @property
    def is_integer(self) -> bool:
        """Whether it has neither fraction nor exponent."""
        return self.literal.removeprefix("-").isdecimal()


def read_number(literal: str) -> Decimal | HugeNumber:
    """The exact value of a JSON number that has a fraction or an exponent."""
    try:
        return Decimal(literal)
    except DecimalException:
        return HugeNumber(literal)


def canonical(amount: Decimal) -> Decimal:
    """The same amount with exactly six fraction digits; raises `DecimalException` where it has too many digits.

    Cheap for any exponent: nothing is computed that is longer than an amount may be. A NaN stays one.
    """
    return _quantize(amount, MICRO)


def validate_amount(amount: Decimal) -> Invalid | None:
    """What is wrong with an amount, or None."""
    wrong = _checked(amount)
    return wrong if isinstance(wrong, Invalid) else None


def read_amount(value: object) -> Decimal | Invalid:
    """A non-negative amount, canonical, from a JSON number (decoded as int or Decimal) or from a numeric string."""
    if isinstance(value, Decimal):
        return _checked(value)
    if isinstance(value, str):
        return _from_text(value)
    if isinstance(value, HugeNumber):
        return _DIGITS
    if isinstance(value, int) and not isinstance(value, bool):
        # An integer of thousands of digits would be slow to convert, and is out of bounds anyway.
        return _checked(Decimal(value)) if abs(value) < 10**18 else _DIGITS
    return _TYPE


def plain(amount: Decimal) -> Decimal:
    """The same amount without trailing zeros and written without exponent; for amounts that have nothing wrong."""
    text = f"{canonical(abs(amount)):f}".rstrip("0").rstrip(".")
    return Decimal(text)


def _checked(amount: Decimal) -> Decimal | Invalid:
    if not amount.is_finite():
        return _NUMBER
    if amount < 0:
        return _NEGATIVE
    try:
        # Minus zero is zero.
        return canonical(amount).copy_abs()
    except DecimalException:
        return _DIGITS


def _from_text(text: str) -> Decimal | Invalid:
    if len(text) > _MAX_TEXT_LENGTH or not _NUMERIC.fullmatch(text):
        return _NUMBER
    number = read_number(text)
    return _checked(number) if isinstance(number, Decimal) else _DIGITS
