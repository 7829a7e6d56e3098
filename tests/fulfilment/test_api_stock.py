"""Products and their stock over HTTP."""

import json

from tests.fulfilment.api_side import V1, Caller, caller, problem

__all__ = ["caller"]


async def test_products_and_stock(caller: Caller) -> None:
    product = {"name": "New", "unitPrice": 1.5, "currency": "eur"}
    put = [await caller.call("PUT", V1 + "/products/NEW", product) for _ in range(2)]
    assert [one.status for one in put] == [201, 200]
    assert (await put[0].json())["unitPrice"] == "1.50"
    loaded = await caller.call("POST", V1 + "/stock/NEW/codes", {"codes": ["a", "b", "a"]})
    assert await loaded.json() == {"sku": "NEW", "received": 3, "added": 2, "known": 1}
    await problem(await caller.call("POST", V1 + "/stock/NONE/codes", {"codes": ["c"]}), 404, "UNKNOWN_SKU")
    secret = "a secret " + "x" * 600
    refused = await caller.call("POST", V1 + "/stock/NEW/codes", {"codes": ["ok", secret]})
    assert "secret" not in json.dumps(await problem(refused, 422, "INVALID_VALUE"))
    nameless = await caller.call("PUT", V1 + "/products/NEW", {**product, "name": " "})
    assert [one["pointer"] for one in (await problem(nameless, 422, "INVALID_VALUE"))["errors"]] == ["/name"]
    bad = await caller.call("PUT", V1 + "/products/NEW", {"name": 1, "unitPrice": -1, "currency": "?"})
    found = await problem(bad, 422, "INVALID_TYPE")
    assert [one["pointer"] for one in found["errors"]] == ["/name", "/unitPrice", "/currency"]
