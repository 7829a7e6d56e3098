"""The order of checks: each request has two errors, and the earlier check decides the response."""

import gzip
import json
import re
from typing import Any

import pytest

from tests.ingest.client import BASE, ApiClient, import_api, request_head
from tests.ingest.fakes import Charged, Published, a_return, order

GOOD = json.dumps([order()]).encode()
LARGE = b" " * 102_401
ZIP = {"Content-Encoding": "gzip"}


@pytest.fixture
async def client() -> Any:
    async with import_api() as client:
        yield client


# Each line: two errors, the request, and the response to the first of them.
CHECKS: list[tuple[str, dict[str, Any], int, str]] = [
    # 1. route, method
    ("no such route, and no token", {"path": "/omnichannel/api/v1/12345/order", "token": None}, 404, "NOT_FOUND"),
    ("no such kind", {"path": BASE + "/refunds"}, 404, "NOT_FOUND"),
    ("a PUT without user", {"path": BASE + "/orders/users/", "method": "PUT"}, 404, "NOT_FOUND"),
    (
        "a user that is not UTF-8, and no token",
        {"path": BASE + "/orders/users/%ff", "method": "PUT", "token": None},
        404,
        "NOT_FOUND",
    ),
    ("wrong method, and no token", {"method": "PATCH", "token": None}, 405, "METHOD_NOT_ALLOWED"),
    (
        "GET where PUT is meant",
        {"path": BASE + "/orders/users/u", "method": "GET", "data": None},
        405,
        "METHOD_NOT_ALLOWED",
    ),
    # 2. token, apiKey, scope, mode
    (
        "no token, and another's apiKey",
        {"path": "/omnichannel/api/v1/67890/orders", "token": None},
        401,
        "UNAUTHORIZED",
    ),
    ("a bad token, and an unknown mode", {"token": "bad", "path": BASE + "/orders?mode=x"}, 401, "UNAUTHORIZED"),
    ("another's apiKey, and an unknown mode", {"path": "/omnichannel/api/v1/67890/orders?mode=x"}, 403, "FORBIDDEN"),
    (
        "an apiKey that is another's by now, and an unknown mode",
        {"token": "moved", "path": BASE + "/orders?mode=x"},
        403,
        "FORBIDDEN",
    ),
    ("an unknown apiKey", {"path": "/omnichannel/api/v1/nobody/orders"}, 403, "FORBIDDEN"),
    ("no scope, and an unknown mode", {"token": "neither", "path": BASE + "/orders?mode=x"}, 403, "FORBIDDEN"),
    ("only returns, on orders", {"token": "returns"}, 403, "FORBIDDEN"),
    ("only orders, on returns", {"token": "orders", "path": BASE + "/returns"}, 403, "FORBIDDEN"),
    (
        "an unknown mode, and a wrong type",
        {"path": BASE + "/orders?mode=x", "headers": {"Content-Type": "text/xml"}},
        400,
        "INVALID_MODE",
    ),
    # 4. content type
    (
        "a wrong type, and a wrong encoding",
        {"headers": {"Content-Type": "text/xml", "Content-Encoding": "br"}},
        415,
        "UNSUPPORTED_MEDIA_TYPE",
    ),
    # 5. encoding
    (
        "a wrong encoding, and too much",
        {"headers": {"Content-Encoding": "br"}, "data": LARGE},
        415,
        "UNSUPPORTED_ENCODING",
    ),
    ("gzip twice", {"headers": {"Content-Encoding": "gzip, gzip"}}, 415, "UNSUPPORTED_ENCODING"),
    # 6. size
    ("too much, and no gzip", {"headers": ZIP, "data": LARGE}, 413, "PAYLOAD_TOO_LARGE"),
    # 7. gzip
    ("no gzip, and no JSON", {"headers": ZIP, "data": b"{"}, 400, "INVALID_GZIP"),
    ("gzip cut short, with no JSON", {"data": gzip.compress(b"{")[:-1]}, 400, "INVALID_GZIP"),
    (
        "too much inflated, and no JSON",
        {"data": gzip.compress(b"{" * (4 * 1024 * 1024 + 1))},
        413,
        "DECOMPRESSED_TOO_LARGE",
    ),
    # 8. JSON
    ("empty", {"data": b""}, 400, "MALFORMED_JSON"),
    ("blank", {"data": b" \n"}, 400, "MALFORMED_JSON"),
    ("broken behind 101 records", {"data": json.dumps([order()] * 101).encode()[:-1]}, 400, "MALFORMED_JSON"),
    ("NaN in what is no array of objects", {"data": b"[1, NaN]"}, 400, "MALFORMED_JSON"),
    ("bad UTF-8 in what is no array of objects", {"data": b'["\xff"]'}, 400, "MALFORMED_JSON"),
    ("bad UTF-8 in an unknown field", {"data": b'[{"x": "\xff"}]'}, 400, "MALFORMED_JSON"),
    ("too deep", {"data": b"[" * 100_000}, 400, "MALFORMED_JSON"),
    ("too deep, whole", {"data": b'[{"x":' + b"[" * 40_000 + b"]" * 40_000 + b"}]"}, 400, "MALFORMED_JSON"),
    ("two byte order marks", {"data": b"\xef\xbb\xbf" * 2 + GOOD}, 400, "MALFORMED_JSON"),
    # 9. records
    ("a number", {"data": b"7"}, 400, "INVALID_TYPE"),
    ("an array of what is no object", {"data": b"[{}, 7]"}, 400, "INVALID_TYPE"),
    ("101 and one that is no object", {"data": b"[" + b"{}, " * 101 + b"7]"}, 400, "INVALID_TYPE"),
    (
        "101 and one too deep",
        {"data": b"[" + b"{}, " * 101 + b'{"x":' + b"[" * 70 + b"]" * 70 + b"}]"},
        400,
        "MALFORMED_JSON",
    ),
    ("none", {"data": b"[]"}, 400, "EMPTY_BATCH"),
    ("101", {"data": json.dumps([order()] * 101).encode()}, 413, "TOO_MANY_RECORDS"),
    (
        "two in a PUT",
        {"method": "PUT", "path": BASE + "/orders/users/u1", "data": json.dumps([order()] * 2).encode()},
        413,
        "TOO_MANY_RECORDS",
    ),
    ("none in a PUT", {"method": "PUT", "path": BASE + "/orders/users/u1", "data": b"[]"}, 400, "EMPTY_BATCH"),
]


@pytest.mark.parametrize(("options", "status", "code"), [line[1:] for line in CHECKS], ids=[line[0] for line in CHECKS])
async def test_the_first_check_that_fails_answers(
    client: ApiClient, options: dict[str, Any], status: int, code: str
) -> None:
    response = await client.call(**{"method": "POST", "path": BASE + "/orders", "data": GOOD, **options})
    assert (response.status, response.code) == (status, code), response.body
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json
    assert problem["status"] == status
    assert problem["requestId"] == response.headers["x-request-id"]
    assert all(problem[name] for name in ("type", "title", "detail", "instance"))
    assert not any(isinstance(entry, Published) for entry in client.journal), "a 4xx publishes nothing"


@pytest.mark.parametrize(("options", "status", "code"), [line[1:] for line in CHECKS], ids=[line[0] for line in CHECKS])
async def test_what_is_refused_for_its_body_costs_one_record(
    client: ApiClient, options: dict[str, Any], status: int, code: str
) -> None:
    await client.call(**{"method": "POST", "path": BASE + "/orders", "data": GOOD, **options})
    costs = status in (413, 415) or (status == 400 and code != "INVALID_MODE")
    assert client.journal == ([Charged(1)] if costs else [])


@pytest.mark.parametrize(
    ("options", "has_quota"),
    [(line[1], line[2] not in (401, 404, 405)) for line in CHECKS],
    ids=[line[0] for line in CHECKS],
)
async def test_who_is_known_is_told_what_is_left(client: ApiClient, options: dict[str, Any], has_quota: bool) -> None:  # noqa: FBT001 - a column of the table
    response = await client.call(**{"method": "POST", "path": BASE + "/orders", "data": GOOD, **options})
    assert ("ratelimit" in response.headers) == has_quota
    assert ("ratelimit-policy" in response.headers) == has_quota


async def test_what_was_counted_says_how_long_ago(client: ApiClient) -> None:
    """By it a client knows when its next request has room; what was not counted says nothing of it."""
    key = {"Idempotency-Key": "k"}
    for query in ("", "?validateOnly=true"):
        counted = await client.send([order(id=str(n)) for n in range(40)], query=query, headers=key)
        assert re.fullmatch(r"counted;dur=[0-9]+\.[0-9]", counted.headers["server-timing"])
    replayed = await client.send([order(id=str(n)) for n in range(40)], headers=key)
    refused = await client.send([order(id=str(n)) for n in range(40)])
    assert (replayed.status, refused.status) == (202, 429)
    assert not any("server-timing" in response.headers for response in (replayed, refused))


async def test_an_empty_bucket_comes_before_everything_about_the_body(client: ApiClient) -> None:
    """3: at once, with the body unread; it may be wrong in any way."""
    await client.send([order(id=str(n)) for n in range(100)])
    wrongs: tuple[dict[str, Any], ...] = ({"headers": {"Content-Type": "text/xml"}}, {"data": LARGE}, {"data": b"["})
    for wrong in wrongs:
        response = await client.call(**{"method": "POST", "path": BASE + "/orders", "data": GOOD, **wrong})
        assert (response.status, response.code) == (429, "RATE_LIMITED")
    response = await client.call("POST", BASE + "/orders?mode=x", data=GOOD)
    assert response.code == "INVALID_MODE", "the mode is checked before the quota"
    head = request_head("POST", BASE + "/orders", "Content-Length: 1000", "Content-Type: application/json")
    assert b" 429 " in await client.send_raw(head), "not a byte of the body was sent"


async def test_a_bucket_that_cannot_pay_is_the_last_check(client: ApiClient) -> None:
    """10: ninety-nine are left, a hundred are sent."""
    await client.send([order()])
    refused = await client.send([order(id=str(n)) for n in range(100)])
    assert (refused.status, refused.code) == (429, "RATE_LIMITED")
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["ratelimit"] == '"records";r=99;t=1'
    assert (await client.send([order(id=str(n)) for n in range(99)])).status == 202, "what is refused costs nothing"
    malformed = await client.send(b"[")
    assert malformed.code == "RATE_LIMITED"


async def test_orders_and_returns_share_the_bucket(client: ApiClient) -> None:
    await client.send([order(id=str(n)) for n in range(60)])
    response = await client.send([a_return(returnId=str(n)) for n in range(41)], kind="returns")
    assert response.status == 429
    assert (await client.send([a_return(returnId=str(n)) for n in range(40)], kind="returns")).status == 202


async def test_sites_do_not_share_a_bucket(client: ApiClient) -> None:
    await client.send([order(id=str(n)) for n in range(100)])
    other = await client.call("POST", "/omnichannel/api/v1/67890/orders", data=GOOD, token="other")
    assert other.status == 202


async def test_a_put_costs_one_and_a_bad_record_as_much_as_a_good_one(client: ApiClient) -> None:
    await client.send(order(), user="u1")
    await client.send([order(), order(lineItems=[])])
    assert [entry for entry in client.journal if isinstance(entry, Charged)] == [Charged(1), Charged(2)]


async def test_returns_on_an_orders_path_need_their_own_scope(client: ApiClient) -> None:
    response = await client.send([a_return()], token="orders")
    assert (response.status, response.code) == (403, "FORBIDDEN")
    assert response.headers["www-authenticate"] == 'Bearer error="insufficient_scope"'
    assert client.journal == [Charged(1)], "the body had to be read"
    assert (await client.send([order()], token="orders")).status == 202


@pytest.mark.parametrize(("limit", "records"), [(5, 4), (3, 3), (250, 100)])
async def test_the_limit_is_the_sites_own(limit: int, records: int) -> None:
    async with import_api(records_per_second=limit) as client:
        fitting, rest = divmod(limit, records)
        statuses = [(await client.send([order(id=str(n)) for n in range(records)])).status for _ in range(fitting + 1)]
        assert statuses == [202] * fitting + [429]
        assert (await client.call("GET", BASE + "/limits")).json["remaining"] == rest


async def test_the_bucket_fills_again(client: ApiClient) -> None:
    await client.send([order(id=str(n)) for n in range(100)])
    assert (await client.send([order()])).status == 429
    client.rate_limiter.now += 1
    assert (await client.send([order()])).status == 202
