"""Loading products and codes: their bounds, and the transactions that new codes make due."""

from decimal import Decimal
from typing import Any

import pytest

from services.fulfilment.domain.code import Code
from services.fulfilment.domain.order_request import InvalidRequestError
from services.fulfilment.domain.stock_request import parse_codes, parse_product
from services.fulfilment.flows import load_stock
from tests.fulfilment.harness import CURRENCIES, PRODUCTS, Harness

PRODUCT = {"name": "New", "unitPrice": "1", "currency": "EUR"}


def product(**changes: Any) -> Any:
    return parse_product("NEW", {**PRODUCT, **changes}, CURRENCIES, {"stock"})


@pytest.mark.parametrize(
    "codes",
    [["c"] * 10_000, ["x" * 512], [{"redeemCode": "x" * 512, "pinCode": "x" * 512}]],
    ids=["many", "long", "long with a long pin"],
)
def test_codes_up_to_the_bounds_are_taken(codes: list[Any]) -> None:
    assert len(parse_codes(codes)) == len(codes)


@pytest.mark.parametrize(
    ("codes", "faults"),
    [
        (["c"] * 10_001, [("/codes", "TOO_MANY_CODES")]),
        (["x" * 513], [("/codes/0", "INVALID_VALUE")]),
        (["ok", {"redeemCode": "c", "pinCode": "x" * 513}], [("/codes/1/pinCode", "INVALID_VALUE")]),
        ([7], [("/codes/0", "INVALID_TYPE")]),
        ([{}], [("/codes/0/redeemCode", "INVALID_TYPE")]),
        ([], [("/codes", "MISSING_FIELD")]),
        ("c", [("/codes", "MISSING_FIELD")]),
        ([""] * 10_000, [(f"/codes/{number}", "INVALID_VALUE") for number in range(20)]),
    ],
    ids=["too many", "too long", "pin too long", "number", "no code", "none", "text", "many faults"],
)
def test_codes_that_are_refused(codes: object, faults: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse_codes(codes)
    assert [(fault.pointer, fault.code) for fault in refused.value.faults] == faults


def test_a_product_may_be_withdrawn_and_cost_up_to_the_bound() -> None:
    assert not product().is_withdrawn
    assert product(withdrawn=True).is_withdrawn
    assert product(unitPrice=100_000).unit_price == Decimal(100_000)
    assert product(unitPrice=0).unit_price == 0


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"withdrawn": "yes"}, ("/withdrawn", "INVALID_TYPE")),
        ({"withdrawn": 0}, ("/withdrawn", "INVALID_TYPE")),
        ({"unitPrice": Decimal("100000.000001")}, ("/unitPrice", "INVALID_VALUE")),
        ({"unitPrice": Decimal("0.0000001")}, ("/unitPrice", "INVALID_VALUE")),
        ({"name": "x" * 257}, ("/name", "INVALID_VALUE")),
    ],
    ids=["withdrawn as text", "withdrawn as number", "too dear", "too fine", "long name"],
)
def test_products_that_are_refused(changes: dict[str, Any], fault: tuple[str, str]) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        product(**changes)
    assert [(fault.pointer, fault.code) for fault in refused.value.faults] == [fault]


async def test_an_order_is_due_because_of_new_codes_that_it_waits_for_and_of_nothing_else(harness: Harness) -> None:
    """An order that has its card and waits for pennies is not due because of new cards."""
    await load_stock.load_codes("CARD", [Code("known")], harness.load_stock_deps)
    waiting = (await harness.place(("CARD", 1), ("PENNY", 1))).transaction
    await harness.fulfil(waiting.id)
    assert await harness.transactions.claim_due(limit=10, lease_us=1) == []
    for sku, code, due in (
        ("CARD", "new", []),
        ("PENNY", "known", []),
        ("DEMO-NEVER", "other", []),
        ("PENNY", "fresh", [waiting.id]),
    ):
        await load_stock.load_codes(sku, [Code(code)], harness.load_stock_deps)
        assert await harness.transactions.claim_due(limit=10, lease_us=1) == due, (sku, code)


async def test_codes_of_a_product_that_is_not_there_are_not_loaded(harness: Harness) -> None:
    assert await load_stock.load_codes("NONE", [Code("c")], harness.load_stock_deps) is None
    batch = await load_stock.load_codes("CARD", [Code("c")], harness.load_stock_deps)
    assert batch is not None
    assert batch.added == 1


@pytest.mark.parametrize("codes", [[Code("c"), Code("c", "1")], [Code("c", "1"), Code("c")]], ids=["last", "first"])
async def test_a_code_that_is_there_with_and_without_its_pin_keeps_it(harness: Harness, codes: list[Code]) -> None:
    """Breaks: the first of both is stored, and the customer cannot redeem the code."""
    batch = await load_stock.load_codes("CARD", codes, harness.load_stock_deps)
    assert batch is not None
    assert batch.added == 1
    found = await harness.find_codes((await harness.place(("CARD", 1))).transaction.id)
    assert found is not None
    assert [(unit.redeem_code, unit.pin_code) for unit in found.lines[0]] == [("c", "1")]


async def test_a_product_is_new_once(harness: Harness) -> None:
    new = product()
    assert [await harness.load_stock_deps.products.put(new) for _ in range(2)] == [True, False]
    assert (await harness.products.find(["NEW", "NONE"])) == {"NEW": new}
    assert [product.sku for product in await harness.products.list_all()] == sorted(
        {product.sku for product in PRODUCTS} | {"NEW"}
    )


async def test_orders_that_wait_for_a_product_are_counted(mongo_harness: Harness) -> None:
    await mongo_harness.load("CARD", "only")
    for lines in ([("CARD", 1), ("PENNY", 1)], [("PENNY", 2)], [("DEMO-INSTANT", 1)]):
        await mongo_harness.fulfil((await mongo_harness.place(*lines)).transaction.id)
    waiting = {sku: await mongo_harness.transactions.count_waiting(sku) for sku in ("CARD", "PENNY", "DEMO-INSTANT")}
    assert waiting == {"CARD": 0, "PENNY": 2, "DEMO-INSTANT": 0}


async def test_of_codes_that_are_taken_back_none_is_sold_and_no_sold_one_is_lost(harness: Harness) -> None:
    deps = harness.load_stock_deps
    codes = [Code(f"c{number}") for number in range(6)]
    batch = await load_stock.load_codes("CARD", codes, deps)
    assert batch is not None
    sold = await harness.place(("CARD", 2))
    await harness.fulfil(sold.transaction.id)
    assert await load_stock.withdraw_codes("OTHER", codes, deps) == 0
    withdrawn = await load_stock.withdraw_codes("CARD", [*codes[:3], codes[0], Code("unknown")], deps)
    rest = await deps.stock.withdraw_batch("CARD", batch.id)
    assert withdrawn + rest == 4
    assert await harness.stock.count_available("CARD") == 0
    assert len(await harness.get_codes(sold.transaction.id)) == 2
    again = await load_stock.load_codes("CARD", codes, deps)
    assert again == load_stock.Batch(batch.id, 4)
