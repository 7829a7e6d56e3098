"""The rules on canonical records: what Kafka producers send is as hostile as what comes by HTTP."""

from decimal import Decimal
from typing import Any

import pytest

from services.sales.fast_check import passes_fast_check
from services.sales.field_types import RuleContext
from services.sales.records import OrderLine, ReturnLine, SalesRecord
from services.sales.rules import check_record, find_faults, find_unknown_products
from services.values.instants import MIN_INSTANT_US
from services.values.time_uuids import time_uuid
from tests.sales.samples import CURRENCIES, NOW_US, a_place, a_return, an_order

FIVE_MINUTES = 300_000_000
YEAR_1980_US = 315_532_800_000_000
YEAR_2020_US = 1_577_836_800_000_000


def line(**changes: Any) -> list[OrderLine]:
    values: dict[str, Any] = {"product_id": "1", "sku_id": "s", "quantity": 1, "unit_price": Decimal(1)} | changes
    return [OrderLine(**values)]


def codes(record: SalesRecord) -> list[str]:
    return [f"{fault.code} {fault.field}" for fault in check_record(record, now_us=NOW_US, currencies=CURRENCIES)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"id": ""}, "INVALID_VALUE /id"),
        ({"id": "x" * 129}, "INVALID_VALUE /id"),
        ({"id": "a\nb"}, "INVALID_VALUE /id"),
        ({"channel": ""}, "INVALID_VALUE /channel"),
        ({"email_hash": ""}, "INVALID_VALUE /emailHash"),
        ({"coupon_code": ""}, "INVALID_VALUE /couponCode"),
        ({"channel": "x" * 129}, "INVALID_VALUE /channel"),
        ({"channel": "\x00"}, "INVALID_VALUE /channel"),
        ({"user_id": ""}, "INVALID_VALUE /userId"),
        ({"user_id": "x" * 257}, "INVALID_VALUE /userId"),
        ({"date_time": NOW_US + FIVE_MINUTES + 1}, "FUTURE_DATE /dateTime"),
        ({"date_time": -(2**63)}, "INVALID_DATE /dateTime"),
        ({"utc_offset_minutes": 1440}, "INVALID_DATE /utcOffsetMinutes"),
        ({"accepted_at": NOW_US + FIVE_MINUTES + 1}, "FUTURE_DATE /acceptedAt"),
        ({"accepted_at": 2**63 - 1}, "INVALID_DATE /acceptedAt"),
        ({"accepted_at": MIN_INSTANT_US - 1}, "INVALID_DATE /acceptedAt"),
        ({"accepted_at": YEAR_2020_US - 1}, "INVALID_DATE /acceptedAt"),
        ({"accepted_at": NOW_US // 1000}, "INVALID_DATE /acceptedAt"),
        ({"date_time": YEAR_1980_US - 1}, "INVALID_DATE /dateTime"),
        ({"date_time": NOW_US // 1000}, "INVALID_DATE /dateTime"),
        ({"date_time": NOW_US // 1_000_000}, "INVALID_DATE /dateTime"),
        ({"date_time": 0}, "INVALID_DATE /dateTime"),
        ({"mode": "OFFLINE"}, "INVALID_VALUE /mode"),
        ({"payment_method": "x" * 65}, "INVALID_VALUE /paymentMethod"),
        ({"email_hash": "a@b"}, "PII_NOT_HASHED /emailHash"),
        ({"cc_hash": "4111111111111111"}, "PII_NOT_HASHED /ccHash"),
        ({"cc_hash": "x" * 257}, "INVALID_VALUE /ccHash"),
        ({"store_id": ""}, "INVALID_VALUE /storeId"),
        ({"region_id": 2**63}, "INVALID_VALUE /regionId"),
        ({"segment_ids": ["x" * 257]}, "INVALID_VALUE /segmentIds"),
        ({"segment_ids": [""] * 1001}, "INVALID_VALUE /segmentIds"),
        ({"segment_names": ["\x7f"]}, "INVALID_VALUE /segmentNames"),
        ({"currency": "usd"}, "INVALID_CURRENCY /currency"),
        ({"coupon_code": "x" * 129}, "INVALID_VALUE /couponCode"),
        ({"coupon_value": Decimal("-0.000001")}, "INVALID_VALUE /couponValue"),
        ({"coupon_value": Decimal("0.0000001")}, "INVALID_VALUE /couponValue"),
        ({"coupon_value": Decimal("NaN")}, "INVALID_VALUE /couponValue"),
        ({"line_items": []}, "INVALID_VALUE /lineItems"),
        ({"line_items": line() * 501}, "INVALID_VALUE /lineItems"),
        ({"line_items": line(product_id="")}, "INVALID_VALUE /lineItems/0/productId"),
        ({"line_items": line(product_id="\x85")}, "INVALID_VALUE /lineItems/0/productId"),
        ({"line_items": line(sku_id="")}, "INVALID_VALUE /lineItems/0/skuId"),
        ({"line_items": line(quantity=0)}, "INVALID_QUANTITY /lineItems/0/quantity"),
        ({"line_items": line(quantity=2**31)}, "INVALID_QUANTITY /lineItems/0/quantity"),
        ({"line_items": line(unit_price=Decimal(-1))}, "INVALID_VALUE /lineItems/0/unitPrice"),
        ({"line_items": line(unit_price=Decimal(10**12))}, "INVALID_VALUE /lineItems/0/unitPrice"),
    ],
)
def test_an_order_breaks_one_rule(changes: dict[str, Any], expected: str) -> None:
    assert codes(an_order(**changes)) == [expected]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"order_id": ""}, "INVALID_VALUE /orderId"),
        ({"return_id": "x" * 129}, "INVALID_VALUE /returnId"),
        ({"return_value": Decimal(-1)}, "INVALID_VALUE /returnValue"),
        (
            {"line_items": [ReturnLine("1", None, 1, Decimal(1), "x" * 65)]},
            "INVALID_VALUE /lineItems/0/creditType",
        ),
        (
            {"line_items": [ReturnLine("1", None, 1, Decimal(1), "\n")]},
            "INVALID_VALUE /lineItems/0/creditType",
        ),
    ],
)
def test_a_return_breaks_one_rule(changes: dict[str, Any], expected: str) -> None:
    assert codes(a_return(**changes)) == [expected]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"accepted_at": NOW_US // 1000},
            "acceptedAt is before 2020: it looks like another unit (seconds, milliseconds) than microseconds",
        ),
        (
            {"date_time": NOW_US // 1_000_000},
            "dateTime is before 1980: it looks like another unit (seconds, milliseconds) than microseconds",
        ),
    ],
)
def test_a_time_in_another_unit_is_named_as_such(changes: dict[str, Any], message: str) -> None:
    (fault,) = check_record(an_order(**changes), now_us=NOW_US, currencies=CURRENCIES)
    assert fault.message == message


@pytest.mark.parametrize("date_time", [MIN_INSTANT_US, -1, 0, YEAR_1980_US - 1])
def test_a_sale_of_any_day_passes_if_ingest_read_it(date_time: int) -> None:
    """Ingest reads dates, not numbers: none is of another unit. Its job's id was made when it accepted the record."""
    job_id = time_uuid(NOW_US, clock_seq=1, node=2)
    assert codes(an_order(job=a_place(job_id=job_id), date_time=date_time)) == []
    assert codes(an_order(job=a_place(job_id=job_id), date_time=date_time, accepted_at=NOW_US + 1)) != []


@pytest.mark.parametrize(
    "record",
    [
        an_order(),
        a_return(),
        an_order(coupon_value=None, coupon_code=None, channel=None, store_id=None, email_hash=None, cc_hash=None),
        an_order(date_time=NOW_US + FIVE_MINUTES, accepted_at=NOW_US + FIVE_MINUTES),
        an_order(date_time=YEAR_1980_US, accepted_at=YEAR_2020_US),
        an_order(cc_hash="credit card hash", email_hash="ZGVhZGJlZWY=", user_id="Zürich"),
        an_order(id="a\u00a0b", segment_ids=["x" * 256, "y" * 256]),
        an_order(line_items=line(quantity=2**31 - 1) * 500),
        an_order(segment_ids=["1"] * 1000, segment_names=["a"] * 1000),
    ],
)
def test_a_record_that_keeps_every_rule_has_no_fault(record: SalesRecord) -> None:
    assert codes(record) == []
    assert list(find_faults(record, RuleContext(NOW_US, CURRENCIES))) == []


@pytest.mark.parametrize(
    "value",
    [
        "4111 1111  1111 1111",
        "4111-1111--1111-1111",
        "4111\t1111\t\t1111\t1111",
        "4111\u00a01111\u00a0\u00a01111\u00a01111",
        "bob@example.com, and so on",
        "bob\uff20example.com, and so on",
    ],
)
@pytest.mark.parametrize("field", ["email_hash", "cc_hash"])
def test_what_is_longer_than_a_card_may_hide_nothing_all_the_same(field: str, value: str) -> None:
    name = "/emailHash" if field == "email_hash" else "/ccHash"
    assert codes(an_order(**{field: value})) == [f"PII_NOT_HASHED {name}"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"user_id": "u\n"}, "/userId"),
        ({"payment_method": "cash\n"}, "/paymentMethod"),
        ({"email_hash": "d12345gf345 d12345gf345\n"}, "/emailHash"),
        ({"cc_hash": "d12345gf345-d12345gf345\n"}, "/ccHash"),
        ({"cc_hash": "d12345gf345d12345gf345d12345gf345\n"}, "/ccHash"),
        ({"store_id": "s\n"}, "/storeId"),
        ({"segment_ids": ["s\n"]}, "/segmentIds"),
        ({"coupon_code": "c\n"}, "/couponCode"),
        ({"line_items": line(sku_id="s\n")}, "/lineItems/0/skuId"),
    ],
)
def test_no_text_holds_a_control_character(changes: dict[str, Any], field: str) -> None:
    assert codes(an_order(**changes)) == [f"INVALID_VALUE {field}"]


@pytest.mark.parametrize("record", [an_order(), a_return()])
def test_the_usual_record_is_seen_at_a_glance(record: SalesRecord) -> None:
    assert passes_fast_check(record, now_us=NOW_US, currencies=CURRENCIES)


def test_only_the_first_twenty_faults_are_told() -> None:
    assert len(codes(an_order(line_items=line(quantity=0) * 30))) == 20


def test_each_distinct_unknown_product_is_one_fault() -> None:
    lines = [OrderLine(product, None, 1, Decimal(1)) for product in ("a", "b", "a", "c", "b")]
    faults = find_unknown_products(an_order(line_items=lines), {"c"})
    assert [(fault.field, fault.product_id, fault.message) for fault in faults] == [
        ("/lineItems/0/productId", "a", "No product is found for product ID a"),
        ("/lineItems/1/productId", "b", "No product is found for product ID b"),
    ]
    assert {fault.code for fault in faults} == {"PRODUCT_NOT_FOUND"}
    assert all(fault.retryable and fault.level == "WARNING" for fault in faults)


def test_known_products_are_no_fault_and_an_ill_id_is_not_quoted() -> None:
    assert find_unknown_products(an_order(), {"4556"}) == []
    assert find_unknown_products(an_order(line_items=line(product_id="a\nb")), set()) == []
