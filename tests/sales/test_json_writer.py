"""Canonical records as JSON text."""

import json
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from services.sales.json_writer import to_json
from services.sales.records import OrderLine, SalesRecord
from tests.sales.samples import a_return, an_order
from tests.sales.strategies import ORDERS, RETURNS


def test_an_order_in_full() -> None:
    order = an_order(date_time=1_650_856_915_000_000, coupon_value=Decimal("23.760000"))
    assert to_json(order) == (
        '{"id":"1723ABC","channel":"6a700f55b7059e38","userId":"userA2","dateTime":"2022-04-25T12:21:55+09:00",'
        '"acceptedAt":"2025-06-15T15:06:40.000000Z","mode":"offline","paymentMethod":"Credit card",'
        '"paymentKind":"credit","emailHash":"d12345gf345","ccHash":"q1234rfgth","storeId":"Store123","regionId":-1,'
        '"segmentIds":["44","55"],"segmentNames":["seg1"],"currency":"USD","couponCode":"RR01","couponValue":23.76,'
        '"lineItems":[{"productId":"4556","skuId":"sku1","quantity":10,"unitPrice":256.678}]}'
    )


def test_a_return_in_full_leaves_out_what_is_absent() -> None:
    record = a_return(date_time=1_650_856_915_500_000, return_value=Decimal("100.250000"))
    assert to_json(record) == (
        '{"orderId":"13","returnId":"15","channel":"offline","userId":"userC2",'
        '"dateTime":"2022-04-25T01:51:55.5-01:30","acceptedAt":"2025-06-15T15:06:40.000000Z","mode":"online",'
        '"emailHash":"emailHash","ccHash":"r4321weetgg","storeId":"Store 234","currency":"EUR","returnValue":100.25,'
        '"lineItems":[{"productId":"content__662","quantity":2,"unitPrice":0,"creditType":"cash back"}]}'
    )


def test_amounts_are_exact_and_without_exponent() -> None:
    amounts = ["0.000001", "999999999999.999999", "100", "-1.5", "0"]
    lines = [OrderLine("1", None, 1, Decimal(amount).quantize(Decimal("0.000001"))) for amount in amounts]
    text = to_json(an_order(line_items=lines))
    assert [f'"unitPrice":{amount}}}' in text for amount in amounts] == [True] * 5


@given(st.one_of(ORDERS, RETURNS))
@settings(max_examples=200, deadline=None)
def test_any_record_off_the_wire_can_be_told(record: SalesRecord) -> None:
    json.loads(to_json(record))
