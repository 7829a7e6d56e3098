from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.values.decimals import HugeNumber, amount_wrong, plain, read_amount, read_number
from services.values.invalid import Kind, Wrong


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
    assert str(plain(read)) == amount
    assert str(read) == f"{Decimal(amount):.6f}"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (10**12, Kind.VALUE),
        pytest.param(10**5000, Kind.VALUE, id="5000 digits"),
        pytest.param(-(10**5000), Kind.VALUE, id="minus 5000 digits"),
        (Decimal("1E+12"), Kind.VALUE),
        (Decimal("1E+999999999"), Kind.VALUE),
        (Decimal("1E-999999999"), Kind.VALUE),
        (Decimal("1.0000000000000000000000000000001"), Kind.VALUE),
        (Decimal("-0.01"), Kind.VALUE),
        (Decimal("NaN"), Kind.VALUE),
        (Decimal("sNaN"), Kind.VALUE),
        (Decimal("Infinity"), Kind.VALUE),
        (read_number("1e9999999999999999999999"), Kind.VALUE),
        ("1e9999999999999999999999", Kind.VALUE),
        ("", Kind.VALUE),
        ("NaN", Kind.VALUE),
        ("1_000", Kind.VALUE),
        (" 1", Kind.VALUE),
        ("+1", Kind.VALUE),
        (".5", Kind.VALUE),
        ("٣", Kind.VALUE),
        ("1" * 500, Kind.VALUE),
        (True, Kind.TYPE),
        (1.5, Kind.TYPE),
        ([1], Kind.TYPE),
        ({}, Kind.TYPE),
    ],
)
def test_anything_else_is_wrong(value: object, kind: Kind) -> None:
    wrong = read_amount(value)
    assert isinstance(wrong, Wrong)
    assert wrong.kind is kind


def test_a_number_beyond_decimals_keeps_its_literal() -> None:
    huge = read_number("-1E+99999999999999999999")
    assert isinstance(huge, HugeNumber)
    assert huge.literal == "-1E+99999999999999999999"


@given(st.decimals(allow_nan=True, allow_infinity=True))
def test_an_amount_is_right_or_wrong_and_never_rounded(amount: Decimal) -> None:
    read = read_amount(amount)
    if isinstance(read, Wrong):
        assert amount_wrong(amount) == read
    else:
        assert read == plain(read) == amount
        assert amount_wrong(amount) is None
