"""The details of faults that senders see."""

import json
from typing import Any

import pytest

from services.sales.faults import FaultCode, make_fault
from tests.sales.samples import read
from tests.sales.test_fields import ORDER, RETURN


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
        ({"lineItems": [5]}, "lineItems[0] must be an object"),
        ({"lineItems": [{"productId": "1", "unitPrice": 1}]}, "quantity is required"),
    ],
)
def test_a_fault_names_its_field(changes: dict[str, Any], message: str) -> None:
    (rejected,) = read(json.dumps([ORDER | changes]).encode()).rejected
    assert [one.message for one in rejected.faults] == [message]


@pytest.mark.parametrize(("record", "field"), [(ORDER, "/id"), (RETURN, "/returnId")])
def test_another_version_of_a_record_is_shown_by_its_id(record: dict[str, Any], field: str) -> None:
    body = json.dumps([record, record | {"userId": "another"}]).encode()
    (rejected,) = read(body, kind="orders" if "id" in record else "returns").rejected
    assert [(one.code, one.field) for one in rejected.faults] == [("DUPLICATE_IN_BATCH", field)]
