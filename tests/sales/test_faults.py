"""The details of faults that senders see."""

import json
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.sales.faults import FaultCode, make_fault
from tests.sales.samples import read
from tests.sales.test_fields import ORDER, RETURN

LINE: dict[str, Any] = {"productId": "4556", "quantity": 10, "unitPrice": 1}
DATE = "dateTime must be an ISO 8601 date and time such as 2007-04-25T14:30:00+09:00"
QUANTITY = "quantity must be an integer, a number from 1 to 2147483647"
SEGMENTS = "segmentIds must be an array of strings or numbers, or one comma-separated string"


@pytest.mark.parametrize("code", FaultCode)
def test_time_heals_what_is_early_and_nothing_else(code: FaultCode) -> None:
    """Of what the record itself is at fault for; a product may come, too."""
    is_early = code in (FaultCode.FUTURE_DATE, FaultCode.PRODUCT_NOT_FOUND)
    assert make_fault(code, "/x", "…").retryable == is_early


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"userId": None}, "userId is required"),
        ({"currency": "XYZ"}, "currency must be an ISO 4217 currency code"),
        ({"currency": 840}, "currency must be an ISO 4217 currency code, not a number"),
        ({"lineItems": [5]}, "lineItems[0] must be an object, not a number"),
        ({"lineItems": {}}, "lineItems must be an array, not an object"),
        ({"lineItems": []}, "lineItems must hold 1 to 500 lines, not 0"),
        ({"id": 1.5}, "id must be a string or an integer, not a number with a fraction or an exponent"),
        ({"channel": 5}, "channel must be a string, not a number"),
        ({"emailHash": ["x"]}, "emailHash must be a string, not an array"),
        ({"mode": True}, "mode must be a string, not a boolean"),
        ({"regionId": "5"}, "regionId must be an integer, not a text"),
        ({"couponValue": [1]}, "couponValue must be a number or a numeric string, not an array"),
        ({"segmentIds": 44}, SEGMENTS + ", not a number"),
        ({"segmentIds": [True]}, SEGMENTS + "; it holds a boolean"),
        ({"segmentIds": [None]}, SEGMENTS + "; it holds null"),
        ({"dateTime": 1650856915}, f"{DATE}, not a number"),
        ({"dateTime": "2022-04-25"}, DATE),
        ({"lineItems": [LINE | {"quantity": "3"}]}, f"{QUANTITY}, not a text"),
        ({"lineItems": [LINE | {"quantity": True}]}, f"{QUANTITY}, not a boolean"),
        ({"lineItems": [LINE | {"quantity": 0}]}, QUANTITY),
        ({"lineItems": [LINE | {"quantity": 2.5}]}, QUANTITY),
        ({"id": "x" * 130}, "id must not be longer than 128 characters, but has 130"),
        ({"lineItems": [{"productId": "1", "unitPrice": 1}]}, "quantity is required"),
    ],
)
def test_a_fault_names_its_field(changes: dict[str, Any], message: str) -> None:
    (rejected,) = read(json.dumps([ORDER | changes]).encode()).rejected
    assert [one.message for one in rejected.faults] == [message]


def test_the_first_day_of_all_east_of_greenwich_is_too_early() -> None:
    """Without an offset it is well-formed, but before the year 1 where the site is."""
    body = json.dumps([ORDER | {"dateTime": "0001-01-01T00:00:00"}]).encode()
    (rejected,) = read(body, zone=ZoneInfo("Asia/Tokyo")).rejected
    assert [one.message for one in rejected.faults] == ["dateTime is before the year 1 in UTC"]


@pytest.mark.parametrize(("record", "field"), [(ORDER, "/id"), (RETURN, "/returnId")])
def test_another_version_of_a_record_is_shown_by_its_id(record: dict[str, Any], field: str) -> None:
    body = json.dumps([record, record | {"userId": "another"}]).encode()
    (rejected,) = read(body, kind="orders" if "id" in record else "returns").rejected
    assert [(one.code, one.field) for one in rejected.faults] == [("DUPLICATE_IN_BATCH", field)]
