"""Parsing order requests: a table of refusals, and accepted values."""

import time
from decimal import Decimal
from typing import Any

import pytest

from services.fulfilment.domain.order_request import InvalidRequestError, parse_order_request, price_order
from tests.fulfilment.harness import PRODUCTS

BY_SKU = {product.sku: product for product in PRODUCTS}
ONE = [{"sku": "CARD", "quantity": 1}]
MIXED = [*ONE, {"sku": "CARD-EUR", "quantity": 1}]


def faults(body: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRequestError) as refused:
        price_order(parse_order_request(body), BY_SKU)
    return [(fault.pointer, fault.code) for fault in refused.value.faults]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, [("/products", "EMPTY_ORDER")]),
        ({"products": []}, [("/products", "EMPTY_ORDER")]),
        ({"products": None}, [("/products", "EMPTY_ORDER")]),
        ({"products": {}}, [("/products", "INVALID_TYPE")]),
        ({"products": ["CARD"]}, [("/products/0", "INVALID_TYPE")]),
        ({"products": [{"quantity": 1}]}, [("/products/0/sku", "MISSING_FIELD")]),
        ({"products": [{"sku": "", "quantity": 1}]}, [("/products/0/sku", "INVALID_VALUE")]),
        ({"products": [{"sku": True, "quantity": 1}]}, [("/products/0/sku", "INVALID_TYPE")]),
        ({"products": [{"sku": "NONE", "quantity": 1}]}, [("/products/0/sku", "UNKNOWN_SKU")]),
        ({"products": [{"sku": "GONE", "quantity": 1}]}, [("/products/0/sku", "UNKNOWN_SKU")]),
        ({"products": MIXED}, [("/products/1/sku", "MIXED_CURRENCY")]),
        ({"products": ONE, "payWithCurrency": "EUR"}, [("/payWithCurrency", "MIXED_CURRENCY")]),
        ({"products": ONE, "payWithCurrency": "no such"}, [("/payWithCurrency", "MIXED_CURRENCY")]),
        ({"products": MIXED, "payWithCurrency": "EUR"}, [("/products/0/sku", "MIXED_CURRENCY")]),
        ({"products": ONE, "payWithCurrency": 1}, [("/payWithCurrency", "INVALID_TYPE")]),
        ({"products": ONE, "clientOrderNumber": "x" * 129}, [("/clientOrderNumber", "INVALID_VALUE")]),
        ({"products": ONE, "clientOrderNumber": []}, [("/clientOrderNumber", "INVALID_TYPE")]),
        ({"products": [{"sku": f"S{n}", "quantity": 1} for n in range(101)]}, [("/products", "TOO_MANY_LINES")]),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, dict) else "",
)
def test_what_is_refused(body: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert faults(body) == expected


@pytest.mark.parametrize("flag", [None, True, "false", "", 0, []])
def test_only_an_explicit_false_lets_a_number_be_used_twice(flag: object) -> None:
    assert parse_order_request({"products": ONE, "enableClientOrderNumberDupCheck": flag}).has_duplicate_check
    assert not parse_order_request({"products": ONE, "enableClientOrderNumberDupCheck": False}).has_duplicate_check


@pytest.mark.parametrize("quantity", [0, -1, 1001, 1.5, "1", None, True, [], Decimal("1.5"), Decimal("NaN"), 10**400])
def test_invalid_quantities(quantity: object) -> None:
    assert faults({"products": [{"sku": "CARD", "quantity": quantity}]}) == [
        ("/products/0/quantity", "INVALID_QUANTITY")
    ]


@pytest.mark.parametrize(
    ("quantity", "ending"),
    [("3", ", not a text"), (True, ", not a boolean"), ([3], ", not an array"), (None, ", not null"), (0, " to 1000")],
)
def test_a_quantity_of_another_type_is_called_by_it(quantity: object, ending: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse_order_request({"products": [{"sku": "CARD", "quantity": quantity}]})
    assert refused.value.faults[0].detail.endswith(ending)


def test_an_absent_quantity_is_not_called_null() -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse_order_request({"products": [{"sku": "CARD"}]})
    assert [(fault.pointer, fault.code, fault.detail) for fault in refused.value.faults] == [
        ("/products/0/quantity", "INVALID_QUANTITY", "the quantity of a product is a whole number from 1 to 1000")
    ]


@pytest.mark.parametrize(("quantity", "read"), [(1, 1), (1000, 1000), (Decimal("2.0"), 2), (Decimal("1e3"), 1000)])
def test_quantities(quantity: object, read: int) -> None:
    request = parse_order_request({"products": [{"sku": "CARD", "quantity": quantity}]})
    assert [item.quantity for item in request.items] == [read]


@pytest.mark.parametrize("sign", ["", "-"])
def test_a_huge_quantity_is_refused_at_once(sign: str) -> None:
    """Converted to an integer, it would block the event loop for most of a minute."""
    started_s = time.process_time()
    assert faults({"products": [{"sku": "CARD", "quantity": Decimal(f"{sign}1e999999")}]}) == [
        ("/products/0/quantity", "INVALID_QUANTITY")
    ]
    assert time.process_time() - started_s < 1


def test_all_faults_are_reported_at_once() -> None:
    body = {
        "clientOrderNumber": [],
        "products": [{"sku": "CARD", "quantity": 0}, {"sku": "", "quantity": 1}, {"sku": "CARD", "quantity": 2}],
    }
    assert [pointer for pointer, _ in faults(body)] == [
        "/clientOrderNumber",
        "/products/0/quantity",
        "/products/1/sku",
    ]


@pytest.mark.parametrize("entry", [1, {}, {"sku": "CARD", "quantity": 0}], ids=["number", "empty", "no quantity"])
def test_of_very_many_faults_the_first_hundred_are_told(entry: object) -> None:
    """A body of one megabyte has room for half a million faults, and the response would be a hundred times as large."""
    assert len(faults({"products": [entry] * 10_000})) == 100


def test_the_same_product_twice_is_one_line() -> None:
    body = {
        "products": [{"sku": "CARD", "quantity": 2}, {"sku": "PENNY", "quantity": 1}, {"sku": "CARD", "quantity": 3}]
    }
    priced = price_order(parse_order_request(body), BY_SKU)
    assert priced.currency == "USD"
    assert [(line.sku, line.quantity) for line in priced.lines] == [("CARD", 5), ("PENNY", 1)]


def test_the_sum_of_a_products_units_is_bounded_too() -> None:
    body = {"products": [{"sku": "CARD", "quantity": 600}, {"sku": "CARD", "quantity": 401}]}
    assert faults(body) == [("/products/1/quantity", "INVALID_QUANTITY")]


def test_a_hundred_products_named_twice_are_a_hundred_lines() -> None:
    lines = [{"sku": f"S{n}", "quantity": 1} for n in range(100)]
    assert len(parse_order_request({"products": lines * 2}).items) == 100


@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_field_counts_as_absent(empty: str | None) -> None:
    fields = dict.fromkeys(("clientOrderNumber", "payWithCurrency", "enableClientOrderNumberDupCheck"), empty)
    assert parse_order_request({"products": ONE, **fields}) == parse_order_request({"products": ONE})


def test_defaults() -> None:
    request = parse_order_request({"products": ONE, "unknown": 1, "payWithCurrency": None})
    assert (request.has_duplicate_check, request.currency, request.client_order_number) == (True, None, None)


def test_the_line_is_a_copy_of_the_product() -> None:
    (line,) = price_order(parse_order_request({"products": ONE, "payWithCurrency": "usd"}), BY_SKU).lines
    assert (line.name, line.unit_price, line.amount) == ("Card", Decimal("9.99"), Decimal("9.99"))
