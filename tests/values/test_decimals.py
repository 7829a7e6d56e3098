from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.values.decimals import HugeNumber, read_amount, read_number, strip_trailing_zeros, validate_amount
from services.values.invalid import Invalid, InvalidKind


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        (Decimal("256.678"), "256.678"),
        (Decimal("1E+11"), "100000000000"),
        (Decimal("1.50000000"), "1.5"),
        (Decimal("0E-999999999"), "0"),
        (Decimal("-0"), "0"),
        (0, "0"),
        (999_999_999_999, "999999999999"),
        ("999999999999.999999", "999999999999.999999"),
        ("1e3", "1000"),
        ("0.10", "0.1"),
    ],
)
def test_amounts_are_exact(value: object, amount: str) -> None:
    read = read_amount(value)
    assert isinstance(read, Decimal)
    assert str(strip_trailing_zeros(read)) == amount
    assert str(read) == f"{Decimal(amount):.6f}"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (10**12, InvalidKind.VALUE),
        pytest.param(10**5000, InvalidKind.VALUE, id="5000 digits"),
        pytest.param(-(10**5000), InvalidKind.VALUE, id="minus 5000 digits"),
        (Decimal("1E+12"), InvalidKind.VALUE),
        (Decimal("1E+999999999"), InvalidKind.VALUE),
        (Decimal("1E-999999999"), InvalidKind.VALUE),
        (Decimal("1.0000000000000000000000000000001"), InvalidKind.VALUE),
        (Decimal("-0.01"), InvalidKind.VALUE),
        (Decimal("NaN"), InvalidKind.VALUE),
        (Decimal("sNaN"), InvalidKind.VALUE),
        (Decimal("Infinity"), InvalidKind.VALUE),
        (read_number("1e9999999999999999999999"), InvalidKind.VALUE),
        ("1e9999999999999999999999", InvalidKind.VALUE),
        ("", InvalidKind.VALUE),
        ("NaN", InvalidKind.VALUE),
        ("1_000", InvalidKind.VALUE),
        (" 1", InvalidKind.VALUE),
        ("+1", InvalidKind.VALUE),
        (".5", InvalidKind.VALUE),
        ("٣", InvalidKind.VALUE),
        ("1" * 500, InvalidKind.VALUE),
        (True, InvalidKind.TYPE),
        (1.5, InvalidKind.TYPE),
        ([1], InvalidKind.TYPE),
        ({}, InvalidKind.TYPE),
    ],
)
def test_anything_else_is_wrong(value: object, kind: InvalidKind) -> None:
    wrong = read_amount(value)
    assert isinstance(wrong, Invalid)
    assert wrong.kind is kind


def test_a_number_beyond_decimals_keeps_its_literal() -> None:
    huge = read_number("-1E+99999999999999999999")
    assert isinstance(huge, HugeNumber)
    assert huge.literal == "-1E+99999999999999999999"


@given(st.decimals(allow_nan=True, allow_infinity=True))
def test_an_amount_is_right_or_wrong_and_never_rounded(amount: Decimal) -> None:
    read = read_amount(amount)
    if isinstance(read, Invalid):
        assert validate_amount(amount) == read
    else:
        assert read == strip_trailing_zeros(read) == amount
        assert validate_amount(amount) is None
