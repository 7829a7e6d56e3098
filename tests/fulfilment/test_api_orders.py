"""Orders over HTTP: accepted, refused, or repeated without being placed twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from services.chassis.runtime.errors import UnavailableError
from services.fulfilment import metrics
from tests.fulfilment.api_fixtures import ORDERS, ApiClient, api, assert_problem

__all__ = ["api"]


async def test_an_order_is_acknowledged_at_once(api: ApiClient) -> None:
    response = await api.call("POST", ORDERS, {"products": [{"sku": "CARD", "quantity": 3}], "clientOrderNumber": 7})
    body = await response.json()
    assert response.status == 202
    assert list(body) == ["transactionId", "clientOrderNumber", "purchaseOrder", "status", "lines", "createdAt"]
    assert body["lines"] == [{"sku": "CARD", "name": "Card", "quantity": 3, "unitPrice": "9.99", "amount": "29.97"}]
    assert body["clientOrderNumber"] == "7"
    assert response.headers["Location"] == f"{ORDERS}/{body['transactionId']}"
    shown = await api.read(response.headers["Location"])
    assert shown["counts"] == {"ordered": 3, "delivered": 0, "pending": 3, "cancelled": 0}


async def test_a_duplicate_is_the_first_answer(api: ApiClient) -> None:
    first = await api.order(("DEMO-INSTANT", 1), clientOrderNumber="n")
    await api.read(f"{ORDERS}/{first['transactionId']}/codes")
    body = {"products": [{"sku": "DEMO-INSTANT", "quantity": 1}], "clientOrderNumber": "n"}
    again = await api.call("POST", ORDERS, body)
    assert (again.status, await again.json()) == (200, {**first, "duplicate": True})
    body["products"] = [{"sku": "DEMO-INSTANT", "quantity": 2}]
    await assert_problem(await api.call("POST", ORDERS, body), 409, "DUPLICATE_CLIENT_ORDER")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "MALFORMED_JSON"),
        (b"{", 400, "MALFORMED_JSON"),
        (b'{"products": "\xff"}', 400, "MALFORMED_JSON"),
        (b"[]", 400, "INVALID_TYPE"),
        (b"{}", 422, "EMPTY_ORDER"),
        (b'{"products": [{"sku": "NO-SUCH", "quantity": 1}]}', 422, "UNKNOWN_SKU"),
        (b'{"products": [{"sku": "CARD", "quantity": 0}]}', 422, "INVALID_QUANTITY"),
        (b" " * 2_001, 413, "PAYLOAD_TOO_LARGE"),
    ],
    ids=["empty", "broken", "utf8", "array", "nothing", "unknown", "none", "large"],
)
async def test_bodies_that_are_refused(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch, body: bytes, status: int, code: str
) -> None:
    monkeypatch.setattr("services.fulfilment.http.body.MAX_BODY_BYTES", 2_000)
    found = await assert_problem(await api.call("POST", ORDERS, body), status, code)
    assert ("errors" in found) is (status == 422)
    assert api.harness.transactions.by_id == {}


async def test_bodies_come_as_json_in_time_and_uncompressed(api: ApiClient) -> None:
    for headers, code in (
        ({"Content-Type": "text/csv"}, "UNSUPPORTED_MEDIA_TYPE"),
        ({"Content-Encoding": "compress"}, "UNSUPPORTED_ENCODING"),
    ):
        refused = await api.call("POST", ORDERS, b"{}", headers=headers)
        await assert_problem(refused, 415, code)
        assert refused.headers.get("Accept-Encoding") == ("identity" if "Content-Encoding" in headers else None)

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)  # longer than a body may take

    with suppress(ConnectionError):
        response = await api.client.post(ORDERS, data=slow(), headers={"Authorization": "Bearer good"})
        await assert_problem(response, 408, "BODY_TIMEOUT")
        assert response.headers["Connection"] == "close"


@pytest.mark.parametrize(
    "kind",
    [
        "application/json; charset=utf-8",
        "application/vnd.harness.order+json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/octet-stream",
    ],
)
async def test_bodies_are_taken_for_json_whatever_senders_usually_call_them(api: ApiClient, kind: str) -> None:
    body = {"products": [{"sku": "CARD", "quantity": 1}]}
    assert (await api.call("POST", ORDERS, body, headers={"Content-Type": kind})).status == 202


async def test_a_body_of_unknown_length_is_bounded_too(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.fulfilment.http.body.MAX_BODY_BYTES", 2_000)

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b" " * 1_000

    response = await api.client.post(ORDERS, data=parts(), headers={"Authorization": "Bearer good"})
    await assert_problem(response, 413, "PAYLOAD_TOO_LARGE")


async def test_idempotency_keys(api: ApiClient) -> None:
    body, headers = {"products": [{"sku": "CARD", "quantity": 1}]}, {"Idempotency-Key": "k"}
    first, again = [await api.call("POST", ORDERS, body, headers=headers) for _ in range(2)]
    assert (first.status, again.status, await first.read()) == (202, 202, await again.read())
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    other = await api.call("POST", ORDERS, {**body, "clientOrderNumber": "n"}, headers=headers)
    await assert_problem(other, 422, "IDEMPOTENCY_CONFLICT")
    for who in ("colleague", "other"):
        theirs = await api.call("POST", ORDERS, body, headers=headers, token=who)
        assert (theirs.status, "Idempotent-Replayed" in theirs.headers) == (202, False)
    await assert_problem(
        await api.call("POST", ORDERS, body, headers={"Idempotency-Key": "k" * 256}), 400, "INVALID_IDEMPOTENCY_KEY"
    )


async def test_a_refused_order_leaves_its_key_free(api: ApiClient) -> None:
    headers = {"Idempotency-Key": "k"}
    bad = await api.call("POST", ORDERS, {"products": []}, headers=headers)
    await assert_problem(bad, 422, "EMPTY_ORDER")
    good = await api.call("POST", ORDERS, {"products": [{"sku": "CARD", "quantity": 1}]}, headers=headers)
    assert good.status == 202


@pytest.mark.parametrize("all_is_away", [False, True], ids=["the answer is lost", "the store is gone"])
async def test_an_unknown_outcome_names_the_transaction(api: ApiClient, *, all_is_away: bool) -> None:
    """Also if the idempotency key, which is in the same store, cannot be updated either."""
    add = api.harness.transactions.add

    async def stored_but_unanswered(transaction: Any) -> Any:
        await add(transaction)
        raise UnavailableError("MongoDB", retry_after_s=7)

    body, headers = {"products": [{"sku": "CARD", "quantity": 1}]}, {"Idempotency-Key": "k"}
    api.harness.transactions.add = stored_but_unanswered
    api.keys.is_unavailable = all_is_away
    lost = await api.call("POST", ORDERS, body, headers=headers)
    found = await assert_problem(lost, 503, "STORE_UNAVAILABLE")
    assert lost.headers["Retry-After"] == "7"
    api.harness.transactions.add = add
    api.keys.is_unavailable = False
    again = await api.call("POST", ORDERS, body, headers=headers)
    assert (again.status, (await again.json())["transactionId"]) == (202, found["transactionId"])
    assert list(api.harness.transactions.by_id) == [found["transactionId"]]


@pytest.mark.parametrize(
    ("products", "status"), [([{"sku": "CARD", "quantity": 1}], 202), ([], 422)], ids=["taken", "refused"]
)
async def test_an_unacknowledged_order_is_reported_though_its_key_cannot_be_updated(
    api: ApiClient, products: list[Any], status: int
) -> None:
    api.keys.is_unavailable = True
    answer = await api.call("POST", ORDERS, {"products": products}, headers={"Idempotency-Key": "k"})
    assert answer.status == status


async def test_what_became_of_requests_is_counted(api: ApiClient) -> None:
    outcomes = ("accepted", "duplicate", "conflict", "refused")
    before = [metrics.PLACED.labels(outcome)._value.get() for outcome in outcomes]
    for quantity in (1, 1, 1, 2, 0, 0, 0, 0):
        await api.call("POST", ORDERS, {"products": [{"sku": "CARD", "quantity": quantity}], "clientOrderNumber": "n"})
    after = [metrics.PLACED.labels(outcome)._value.get() for outcome in outcomes]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 2, 1, 4]


async def test_a_transaction_shows_what_it_costs_and_when_it_ends(api: ApiClient) -> None:
    placed = await api.order(("CARD", 3), ("PENNY", 1))
    shown = await api.read(f"{ORDERS}/{placed['transactionId']}")
    assert (shown["total"], shown["createdAt"]) == ("29.970001", "2026-03-04T12:00:00.000000Z")
    assert shown["deadline"] == "2026-03-11T12:00:00.000000Z"


async def test_a_byte_order_mark_before_an_order_is_skipped(api: ApiClient) -> None:
    body = b'\xef\xbb\xbf{"products": [{"sku": "CARD", "quantity": 1}]}'
    assert (await api.call("POST", ORDERS, body)).status == 202
    refused = await api.call("POST", ORDERS, b"\xef\xbb\xbf{]")
    assert "byte 4" in (await assert_problem(refused, 400, "MALFORMED_JSON"))["detail"]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        (rb'"clientOrderNumber": "a\ud800b", "products": [{"sku": "CARD", "quantity": 1}]', "/clientOrderNumber"),
        (rb'"products": [{"sku": "CARD", "quantity": 1}, {"sku": "\udc00", "quantity": 1}]', "/products/1/sku"),
        (rb'"payWithCurrency": "\ud83d", "products": [{"sku": "CARD", "quantity": 1}]', "/payWithCurrency"),
    ],
)
async def test_half_of_a_surrogate_pair_is_the_fault_of_its_field(api: ApiClient, fields: bytes, pointer: str) -> None:
    refused = await api.call("POST", ORDERS, b"{" + fields + b"}")
    assert refused.status == 422
    assert [fault["pointer"] for fault in (await refused.json(content_type=None))["errors"]] == [pointer]


async def test_half_of_a_surrogate_pair_in_an_unknown_field_is_ignored(api: ApiClient) -> None:
    body = rb'{"note\ud800": "\udc00", "products": [{"sku": "CARD", "quantity": 1}]}'
    assert (await api.call("POST", ORDERS, body)).status == 202
