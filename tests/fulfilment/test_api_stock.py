"""Products and their stock over HTTP."""

import json
from typing import Any

import pytest

from tests.fulfilment.api_fixtures import V1, ApiClient, api, assert_problem

__all__ = ["api"]


async def test_products_and_stock(api: ApiClient) -> None:
    product = {"name": "New", "unitPrice": 1.5, "currency": "eur"}
    put = [await api.call("PUT", V1 + "/products/NEW", product) for _ in range(2)]
    assert [response.status for response in put] == [201, 200]
    assert (await put[0].json())["unitPrice"] == "1.50"
    loaded = await api.call("POST", V1 + "/stock/NEW/codes", {"codes": ["a", "b", "a"]})
    batch_id = (await loaded.json())["batchId"]
    assert await loaded.json() == {"sku": "NEW", "received": 3, "added": 2, "known": 1, "batchId": batch_id}
    again = await api.call("POST", V1 + "/stock/NEW/codes", {"codes": [" b ", "\ta"]})
    assert await again.json() == {"sku": "NEW", "received": 2, "added": 0, "known": 2, "batchId": batch_id}
    await assert_problem(await api.call("POST", V1 + "/stock/NEW/codes", {"codes": [" "]}), 422, "INVALID_VALUE")
    await assert_problem(await api.call("POST", V1 + "/stock/NONE/codes", {"codes": ["c"]}), 404, "UNKNOWN_SKU")
    secret = "a secret " + "x" * 600
    refused = await api.call("POST", V1 + "/stock/NEW/codes", {"codes": ["ok", secret]})
    assert "secret" not in json.dumps(await assert_problem(refused, 422, "INVALID_VALUE"))
    nameless = await api.call("PUT", V1 + "/products/NEW", {**product, "name": " "})
    assert [fault["pointer"] for fault in (await assert_problem(nameless, 422, "INVALID_VALUE"))["errors"]] == ["/name"]
    bad = await api.call("PUT", V1 + "/products/NEW", {"name": 1, "unitPrice": -1, "currency": "?"})
    found = await assert_problem(bad, 422, "INVALID_TYPE")
    assert [fault["pointer"] for fault in found["errors"]] == ["/name", "/unitPrice", "/currency"]


NONE_SUCH = "supplier must be one of simulated, stock"


@pytest.mark.parametrize(
    ("supplier", "code", "detail"),
    [
        ("simulatd", "INVALID_VALUE", NONE_SUCH),
        ("Stock", "INVALID_VALUE", NONE_SUCH),
        ("stock ", "INVALID_VALUE", NONE_SUCH),
        ("s" * 65, "INVALID_VALUE", NONE_SUCH),
        (1, "INVALID_TYPE", "supplier must be a string"),
        (["stock"], "INVALID_TYPE", "supplier must be a string"),
    ],
    ids=["slip", "upper case", "space", "long", "number", "array"],
)
async def test_a_product_whose_supplier_does_not_exist_is_refused(
    api: ApiClient, supplier: Any, code: str, detail: str
) -> None:
    """Its orders would stay pending until their deadline."""
    product = {"name": "New", "unitPrice": 1.5, "currency": "EUR", "supplier": supplier}
    for sku in ("NEW", "CARD"):
        found = await assert_problem(await api.call("PUT", V1 + f"/products/{sku}", product), 422, code)
        assert found["errors"] == [{"pointer": "/supplier", "code": code, "detail": detail}]
    assert "NEW" not in api.harness.products.products
    assert api.harness.products.products["CARD"].name == "Card"
    assert api.audit_log.lines == []


@pytest.mark.parametrize("empty", [None, ""])
async def test_an_empty_field_of_a_product_counts_as_absent(api: ApiClient, empty: str | None) -> None:
    product = {"name": "New", "unitPrice": 1.5, "currency": "EUR", "supplier": empty, "withdrawn": empty}
    put = await api.call("PUT", V1 + "/products/EMPTY", product)
    found = await put.json()
    assert (put.status, found["supplier"], found["withdrawn"]) == (201, "stock", False)
    refused = await api.call("PUT", V1 + "/products/EMPTY", {**product, "currency": empty, "name": empty})
    assert [fault["pointer"] for fault in (await refused.json())["errors"]] == ["/name", "/currency"]


async def test_every_supplier_that_there_is_may_be_named(api: ApiClient) -> None:
    product = {"name": "New", "unitPrice": 1.5, "currency": "EUR"}
    for name in api.harness.suppliers:
        put = await api.call("PUT", V1 + f"/products/FROM-{name}", {**product, "supplier": name})
        assert (put.status, (await put.json())["supplier"]) == (201, name)
    put = await api.call("PUT", V1 + "/products/FROM-NOBODY", product)
    assert (await put.json())["supplier"] == "stock"


async def test_loading_products_and_codes_is_audited_without_codes(api: ApiClient) -> None:
    await api.call("PUT", V1 + "/products/NEW", {"name": "New", "unitPrice": 1, "currency": "EUR"})
    loaded = await api.call("POST", V1 + "/stock/NEW/codes", {"codes": ["secret", "secret", "other"]})
    batch = (await loaded.json())["batchId"]
    where = {"actor": "good", "source": "127.0.0.1"}
    assert api.audit_log.lines == [
        {"action": "product-put", **where, "sku": "NEW"},
        {"action": "codes-loaded", **where, "batch": batch, "codes": 3, "added": 2},
    ]


async def test_half_of_a_surrogate_pair_is_the_fault_of_its_code(api: ApiClient) -> None:
    body = rb'{"codes": ["ok-1", "a\ud800b", {"redeemCode": "ok-2", "pinCode": "\udc00"}]}'
    refused = await api.call("POST", V1 + "/stock/CARD/codes", body)
    found = await assert_problem(refused, 422, "INVALID_VALUE")
    assert [fault["pointer"] for fault in found["errors"]] == ["/codes/1", "/codes/2/pinCode"]
    product = rb'{"name": "\ud800", "unitPrice": 1, "currency": "USD"}'
    found = await assert_problem(await api.call("PUT", V1 + "/products/NEW", product), 422, "INVALID_VALUE")
    assert [fault["pointer"] for fault in found["errors"]] == ["/name"]
