"""The six payloads that the documents print, word for word."""

from decimal import Decimal

import pytest

from services.sales.records import Order, Return
from tests.sales.samples import HERE, ORDERS, RETURNS, by_fastavro, read

EXAMPLES = HERE / "examples"
PRINTED = [
    ("orders-1", "orders", None, "offline", 2, "orders"),
    ("orders-2", "orders", "userC2", "offline", 1, "orders"),
    ("orders-3", "orders", "userC2", "online", 1, "orders"),
    ("orders-4", "orders", None, "online", 2, "orders"),
    ("returns-1", "returns", None, None, 1, "returns"),
    ("returns-2", "orders", "userC2", None, 1, "returns"),
    ("returns-2", "returns", "userC2", None, 1, "returns"),
]


@pytest.mark.parametrize(("name", "path", "user", "mode", "total", "kind"), PRINTED)
def test_a_printed_payload_is_accepted_whole(
    name: str, path: str, user: str | None, mode: str | None, total: int, kind: str
) -> None:
    batch = read((EXAMPLES / f"{name}.json").read_bytes(), kind=path, user=user, mode=mode)
    assert (batch.kind, batch.mode, batch.total) == (kind, mode or "offline", total)
    assert batch.rejected == []
    for _, record in batch.accepted:
        if isinstance(record, Order):
            assert ORDERS.encode(record) == by_fastavro("order", record)
        else:
            assert RETURNS.encode(record) == by_fastavro("return", record)


def test_the_first_example_in_full() -> None:
    (_, order), _ = read((EXAMPLES / "orders-1.json").read_bytes(), mode="offline").accepted
    assert isinstance(order, Order)
    assert (order.id, order.channel, order.user_id) == ("123", "6a700f55b7059e38", "userA2")
    assert (order.date_time, order.utc_offset_minutes) == (1_650_856_915_000_000, 540)
    assert (order.payment_method, order.payment_kind) == ("Credit card", "credit")
    assert (order.region_id, order.store_id, order.currency) == (-1, "Store123", "USD")
    assert (order.segment_ids, order.segment_names) == (["44", "55", "3"], ["seg1", "seg2", "seg3"])
    assert (order.coupon_code, order.coupon_value) == ("RR01", Decimal("23.76"))
    assert [line.product_id for line in order.line_items] == ["4556", "4557", "4558"]
    assert order.line_items[0].unit_price == Decimal("256.678")


def test_the_stray_brace_is_noted_and_the_strict_refuse_it() -> None:
    (note,) = read((EXAMPLES / "orders-4.json").read_bytes()).notes
    assert (note.index, note.code) == (None, "TRAILING_CHARACTERS_IGNORED")


def test_the_return_on_the_orders_path_is_noted() -> None:
    batch = read((EXAMPLES / "returns-2.json").read_bytes(), user="userC2")
    assert [note.code for note in batch.notes] == ["RETURN_ON_ORDERS_PATH"]
    assert isinstance(batch.accepted[0][1], Return)
    assert batch.accepted[0][1].user_id == "userC2"
