"""The fulfilment API: authentication, rate limits, and separation of customers."""

import pytest

from services.fulfilment import metrics
from tests.fulfilment.api_fixtures import ORDERS, V1, ApiClient, api, assert_problem

__all__ = ["api"]

CALLS = [
    ("POST", ORDERS),
    ("GET", ORDERS),
    ("GET", ORDERS + "/x"),
    ("GET", ORDERS + "/x/codes"),
    ("GET", V1 + "/purchase-orders"),
    ("GET", V1 + "/purchase-orders/x"),
    ("GET", V1 + "/invoices"),
    ("GET", V1 + "/invoices/x"),
    ("POST", V1 + "/stock/CARD/codes"),
    ("PUT", V1 + "/products/CARD"),
]


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_each_call_asks_for_a_token_and_its_scope(api: ApiClient, method: str, path: str) -> None:
    await assert_problem(await api.call(method, path, token="nobody"), 401, "UNAUTHORIZED")
    await assert_problem(await api.call(method, path, token="bare"), 403, "FORBIDDEN")
    await assert_problem(await api.call(method, path, token="lost"), 403, "FORBIDDEN")


async def test_what_is_anothers_is_not_there(api: ApiClient) -> None:
    placed = await api.order(("DEMO-INSTANT", 1))
    await api.harness.close_days()
    api.harness.clock.advance(days=1)
    await api.harness.close_days()
    (invoice,) = (await api.read(V1 + "/invoices"))["result"]
    paths = [
        (ORDERS + "/{}", placed["transactionId"]),
        (ORDERS + "/{}/codes", placed["transactionId"]),
        (V1 + "/purchase-orders/{}", placed["purchaseOrder"]["id"]),
        (V1 + "/invoices/{}", invoice["id"]),
    ]
    for path, own in paths:
        assert (await api.call("GET", path.format(own))).status == 200
        theirs, nobodys = [await api.call("GET", path.format(order_id), token="other") for order_id in (own, "none")]
        assert theirs.status == nobodys.status == 404
        assert (await theirs.json(content_type=None))["detail"] == (await nobodys.json(content_type=None))["detail"]
    assert (await (await api.call("GET", ORDERS, token="other")).json())["result"] == []
    assert (await (await api.call("GET", V1 + "/invoices", token="other")).json())["result"] == []


async def test_ten_reads_and_ten_orders_in_any_second(api: ApiClient) -> None:
    paths = [ORDERS, V1 + "/invoices", V1 + "/purchase-orders"]
    statuses = [(await api.call_without_pause("GET", paths[n % 3])).status for n in range(12)]
    assert statuses == [200] * 10 + [429] * 2
    order = {"products": [{"sku": "CARD", "quantity": 1}]}
    statuses = [(await api.call_without_pause("POST", ORDERS, order)).status for _ in range(12)]
    assert statuses == [202] * 10 + [429] * 2
    refused = await api.call_without_pause("GET", ORDERS)
    assert int(refused.headers["Retry-After"]) >= 1
    quota = {name: refused.headers[name] for name in ("RateLimit-Policy", "RateLimit")}
    assert quota == {"RateLimit-Policy": '"reads";q=10;w=1', "RateLimit": '"reads";r=0;t=1'}
    for who in ("colleague", "other"):
        assert (await api.call_without_pause("GET", ORDERS, token=who)).status == 200
        assert (await api.call_without_pause("POST", ORDERS, order, token=who)).status == 202
    assert (await api.client.get("/fulfilment/openapi.yaml")).status == 200
    api.window_s[0] += 1.0
    assert (await api.call_without_pause("GET", ORDERS)).status == 200


async def test_unknown_methods(api: ApiClient) -> None:
    response = await api.client.delete(ORDERS)
    assert (response.status, response.headers["Allow"]) == (405, "GET, POST")


async def test_a_replay_costs_nothing_and_an_order_with_a_key_as_much_as_any(api: ApiClient) -> None:
    order = {"products": [{"sku": "CARD", "quantity": 1}]}
    keys = [f"k{number}" for number in range(10)] + ["k0"] * 5
    headers = [{"Idempotency-Key": key} for key in keys]
    assert {(await api.call_without_pause("POST", ORDERS, order, headers=sent)).status for sent in headers[:9]} == {202}
    for sent in headers[10:]:
        assert (await api.call_without_pause("POST", ORDERS, order, headers=sent)).headers[
            "Idempotent-Replayed"
        ] == "true"
    statuses = [(await api.call_without_pause("POST", ORDERS, order, headers=headers[9])).status for _ in range(2)]
    assert statuses == [202, 429]
    api.window_s[0] += 1.0
    assert (await api.call_without_pause("POST", ORDERS, order, headers={"Idempotency-Key": "k10"})).status == 202


async def test_each_refusal_by_a_limit_is_counted(api: ApiClient) -> None:
    before = {bucket: metrics.RATE_LIMITED.labels(bucket)._value.get() for bucket in ("orders", "reads")}
    for _ in range(12):
        await api.call_without_pause("GET", ORDERS)
    for _ in range(11):
        await api.call_without_pause("POST", ORDERS, {"products": [{"sku": "CARD", "quantity": 1}]})
    after = {bucket: metrics.RATE_LIMITED.labels(bucket)._value.get() for bucket in before}
    assert (after["reads"] - before["reads"], after["orders"] - before["orders"]) == (2, 1)
