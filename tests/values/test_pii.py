import pytest

from services.values.currencies import read_currency
from services.values.invalid import Invalid
from services.values.pii import is_card_number, is_personal_data

KNOWN = frozenset({"USD", "EUR"})


@pytest.mark.parametrize(
    "text",
    [
        "bob@example.com",
        "@",
        "bob＠example.com",
        "bob﹫example.com",
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        " 4-1 1-1111111111111 ",
        "4111\u00a01111\u20111111\u20131111",
        "４１１１１１１１１１１１１１１１",
        "378282246310005",
        "4222222222222",
        "6304000000000000000",
    ],
)
def test_addresses_and_card_numbers_are_personal(text: str) -> None:
    assert is_personal_data(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "d12345gf345",
        "credit card hash",
        "4111111111111112",
        "411111111116",
        "00004111111111111111",
        "4111111111111111a",
        "4111.1111.1111.1111",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "²²²²²²²²²²²²²",
        "-" * 40,
    ],
)
def test_hashes_are_not(text: str) -> None:
    assert not is_personal_data(text)


def test_only_decimal_digits_make_a_card() -> None:
    assert not is_card_number("4111 1111 1111 1111")


@pytest.mark.parametrize(("value", "code"), [("USD", "USD"), ("usd", "USD"), ("eUr", "EUR")])
def test_a_currency_in_any_case(value: str, code: str) -> None:
    assert read_currency(value, KNOWN) == code


@pytest.mark.parametrize("value", ["", "XYZ", "US", "uſd", " USD", 840, None, ["USD"]])
def test_anything_else_is_no_currency(value: object) -> None:
    assert isinstance(read_currency(value, KNOWN), Invalid)
