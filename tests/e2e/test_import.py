"""The documents' examples and the documented refusals, through the gateway of a whole sandbox."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.customer import Customer

EXAMPLES = Path(__file__).parent / "examples"


@pytest.mark.parametrize(
    ("name", "kind", "user", "mode", "total", "job_type", "job_mode"),
    [
        ("orders-1", "orders", None, "offline", 2, "orders", "offline"),
        ("orders-2", "orders", "userC2", "offline", 1, "orders", "offline"),
        ("orders-3", "orders", "userC2", "online", 1, "orders", "online"),
        ("orders-4", "orders", None, "online", 2, "orders", "online"),
        ("returns-1", "returns", None, None, 1, "returns", "offline"),
        ("returns-2", "returns", "userC2", None, 1, "returns", "offline"),
        ("returns-2", "orders", "userC2", None, 1, "returns", "offline"),
    ],
)
async def test_a_printed_example_is_accepted_and_succeeds(
    customer: Customer,
    name: str,
    kind: str,
    user: str | None,
    mode: str | None,
    total: int,
    job_type: str,
    job_mode: str,
) -> None:
    reply = await customer.send_with_retry((EXAMPLES / f"{name}.json").read_bytes(), kind=kind, user=user, mode=mode)
    assert reply.status == 202, reply
    assert list(reply.json)[:3] == ["message", "time", "jobId"]
    assert reply.json["message"] == f"Total records = {total}. Success = {total}. Failed = 0"
    final = await customer.wait_for_job(reply.json["jobId"])
    assert final["summary"]["job-status"] == "PROCESSING"
    assert final["summary"]["job"]["state"] == "COMPLETED"
    assert final["summary"]["job"]["attributes"] == {"mode": job_mode, "type": job_type}
    assert final["result"] == []
    assert "pagination" not in final


async def test_sales_in_currencies_that_were_withdrawn_succeed(customer: Customer) -> None:
    """Of the days when they were money. What is for sale has a price in one that is: see the tests of fulfilment."""
    sales = [("DEM", "1999-05-01T12:00:00Z"), ("hrk", "2022-12-31T12:00:00Z"), ("BGN", "2025-12-31T12:00:00Z")]
    orders = [customer.order(currency=currency, dateTime=date_time) for currency, date_time in sales]
    reply = await customer.send_with_retry([*orders, customer.order(currency="XYZ")])
    assert reply.json["message"] == "Total records = 4. Success = 3. Failed = 1"
    final = await customer.wait_for_job(reply.json["jobId"])
    assert final["summary"]["job"]["baggage"]["records"] == {"total": 4, "failed": 1, "success": 3}
    assert [event["attributes"]["code"] for event in final["result"]] == ["INVALID_CURRENCY"]


async def test_a_batch_with_an_unknown_product_ends_with_a_warning(customer: Customer) -> None:
    bad = customer.order(lineItems=[{"productId": "product3", "quantity": 1, "unitPrice": 1}])
    reply = await customer.send_with_retry([customer.order(), bad], mode="online")
    final = await customer.wait_for_job(reply.json["jobId"])
    assert final["summary"]["job-status"] == "PROCESSING_WITH_WARNING"
    assert final["summary"]["WARNING"] == 1
    assert [(event["message"], event["attributes"]["orderId"]) for event in final["result"]] == [
        ("No product is found for product ID product3", bad["id"])
    ]


async def test_an_order_with_only_an_unknown_product_fails(customer: Customer) -> None:
    bad = customer.order(id=95189138, lineItems=[{"productId": 6024383, "quantity": 1, "unitPrice": 1}])
    reply = await customer.send_with_retry([bad])
    final = await customer.wait_for_job(reply.json["jobId"])
    assert final["summary"]["job-status"] == "FAILED"
    assert final["result"][0]["message"] == "No product is found for product ID 6024383"
    assert final["result"][0]["attributes"]["orderId"] == "95189138"


async def test_a_record_refused_at_intake_is_told_beside_one_that_the_catalogue_refuses(customer: Customer) -> None:
    lineless = customer.order(lineItems=[])
    unknown = customer.order(lineItems=[{"productId": "product3", "quantity": 1, "unitPrice": 1}])
    reply = await customer.send_with_retry([lineless, customer.order(), unknown])
    assert reply.json["message"] == "Total records = 3. Success = 2. Failed = 1"
    final = await customer.wait_for_job(reply.json["jobId"])
    assert final["summary"]["job"]["baggage"]["records"] == {"total": 3, "failed": 2, "success": 1}
    codes = {event["attributes"]["orderId"]: event["attributes"]["code"] for event in final["result"]}
    assert codes == {lineless["id"]: "INVALID_VALUE", unknown["id"]: "PRODUCT_NOT_FOUND"}


async def test_a_job_of_another_tenant_looks_like_no_job(customer: Customer, other_customer: Customer) -> None:
    reply = await customer.send_with_retry([customer.order()])
    await customer.wait_for_job(reply.json["jobId"])
    foreign = await other_customer.events(reply.json["jobId"])
    unknown = await other_customer.events("63d13c0d-0167-11ee-b91c-b9178e343914")
    assert foreign.status == unknown.status == 404
    assert _without_request(foreign.json) == _without_request(unknown.json)


def _without_request(problem: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in problem.items() if name not in {"requestId", "instance"}}


REFUSALS: list[tuple[str, bytes, dict[str, str], int, str]] = [
    ("broken JSON", b"[{", {}, 400, "MALFORMED_JSON"),
    ("no JSON", b"", {}, 400, "MALFORMED_JSON"),
    ("bad UTF-8", b'["\xff"]', {}, 400, "MALFORMED_JSON"),
    ("an empty batch", b"[]", {}, 400, "EMPTY_BATCH"),
    ("a number", b"7", {}, 400, "INVALID_TYPE"),
    ("101 records", json.dumps([{}] * 101).encode(), {}, 413, "TOO_MANY_RECORDS"),
    ("too much on the wire", b" " * 102_401, {}, 413, "PAYLOAD_TOO_LARGE"),
    ("XML", b"<a/>", {"Content-Type": "application/xml"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
    ("brotli", b"x", {"Content-Encoding": "br"}, 415, "UNSUPPORTED_ENCODING"),
    ("broken gzip", b"\x1f\x8b\x08nonsense", {"Content-Encoding": "gzip"}, 400, "INVALID_GZIP"),
]


@pytest.mark.parametrize(("what", "body", "headers", "status", "code"), REFUSALS, ids=[case[0] for case in REFUSALS])
async def test_a_body_that_cannot_be_used_gets_a_clear_problem(
    customer: Customer, what: str, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    reply = await customer.send(body, headers=headers)
    assert (reply.status, reply.code) == (status, code), (what, reply)
    assert reply.headers["content-type"].startswith("application/problem+json")
    assert reply.headers["x-request-id"] == reply.json["requestId"]


async def test_a_gzip_bomb_is_refused(customer: Customer) -> None:
    reply = await customer.send(b" " * 5_000_000, zipped=True)
    assert (reply.status, reply.code) == (413, "DECOMPRESSED_TOO_LARGE")
