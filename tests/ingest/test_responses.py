"""Responses to import requests: body, headers and notes, and the settings that change them."""

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from tests.ingest.client import BASE, ApiClient, import_api
from tests.ingest.fakes import NOW_US, Charged, KeyState, Published, a_return, order


@pytest.fixture
async def client() -> AsyncIterator[ApiClient]:
    async with import_api() as client:
        yield client


def pairs(text: bytes) -> list[tuple[str, Any]]:
    parsed: list[tuple[str, Any]] = json.loads(text, object_pairs_hook=list)
    return parsed


async def test_the_body_has_exactly_these_keys_in_this_order(client: ApiClient) -> None:
    response = await client.send([order(), order(id="o2")])
    assert response.status == 202
    job = client.publisher.jobs[0].header.job_id
    assert pairs(response.body) == [
        ("message", "Total records = 2. Success = 2. Failed = 0"),
        ("time", NOW_US // 1000),
        ("jobId", job),
    ]
    assert UUID(job).version == 1
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.headers["location"] == f"/common-status/v1/12345/job/{job}/events"
    assert response.headers["ratelimit-policy"] == '"records";q=100;w=1'
    assert response.headers["ratelimit"] == '"records";r=98;t=1'
    assert response.headers["x-request-id"]
    assert "link" not in response.headers


@pytest.mark.parametrize("given", ["abc-123", "a" * 128, "urn:uuid:5/6+7=8"])
async def test_a_sane_request_id_comes_back(client: ApiClient, given: str) -> None:
    assert (await client.send([order()], headers={"X-Request-Id": given})).headers["x-request-id"] == given
    assert (await client.send(b"", headers={"X-Request-Id": given})).json["requestId"] == given


@pytest.mark.parametrize("given", ["", "a" * 129, "a b", '"><script>', "ü"])
async def test_another_one_does_not(client: ApiClient, given: str) -> None:
    assert (await client.send([order()], headers={"X-Request-Id": given})).headers["x-request-id"] != given


@pytest.mark.parametrize(
    ("body", "query", "notes"),
    [
        ([order(dateTime="2024-05-01T10:00:00")], "", [(0, "TIMEZONE_ASSUMED")]),
        ([order(), order(id="o2", gift=True)], "", [(1, "UNKNOWN_FIELD")]),
        (json.dumps([order()]).encode() + b" }\n", "", [(None, "TRAILING_CHARACTERS_IGNORED")]),
        (json.dumps([order()]).encode() + b"\xc2\xa0]", "", [(None, "TRAILING_CHARACTERS_IGNORED")]),
        ([a_return()], "", [(None, "RETURN_ON_ORDERS_PATH")]),
    ],
)
async def test_notes_come_last_and_only_where_there_is_something_to_say(
    client: ApiClient, body: Any, query: str, notes: list[Any]
) -> None:
    response = await client.send(body, query=query)
    assert response.status == 202
    assert [name for name, _ in pairs(response.body)] == ["message", "time", "jobId", "notes"]
    received = response.json["notes"]
    assert [(note.get("index"), note["code"]) for note in received] == notes
    assert all(
        list(note) == (["index", "code", "detail"] if "index" in note else ["code", "detail"]) for note in received
    )


async def test_the_trace_of_the_request_goes_on_in_the_job(client: ApiClient) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    for given in (trace, "no trace", None):
        await client.send([order()], headers={"traceparent": given})
    assert [job.traceparent for job in client.publisher.jobs] == [trace, None, None]


async def test_the_sites_time_zone_is_assumed(client: ApiClient) -> None:
    await client.send([order(dateTime="2024-05-01T10:00:00")])
    record = client.publisher.jobs[0].batch.accepted[0][1]
    assert (record.date_time, record.utc_offset_minutes) == (1_714_525_200_000_000, 540)


async def test_a_record_without_channel_has_that_of_the_api_key(client: ApiClient) -> None:
    await client.send([order(), order(id="o2", channel="web")])
    await client.call("POST", "/omnichannel/api/v1/a%2Fb/orders", data=json.dumps(order()))
    channels = [record.channel for job in client.publisher.jobs for _, record in job.batch.accepted]
    assert channels == ["till", "web", None]


@pytest.mark.parametrize(
    ("user", "address"),
    [(None, "/returns"), ("userC2", "/returns/users/userC2"), ("a/b c", "/returns/users/a%2Fb%20c")],
)
async def test_a_return_on_an_orders_path_is_told_where_it_belongs(
    client: ApiClient, user: str | None, address: str
) -> None:
    response = await client.send(a_return(userId=... if user else "u"), user=user)
    assert response.headers["link"] == f'<{BASE}{address}>; rel="canonical"'
    assert client.publisher.jobs[0].header.type == "returns"
    assert client.journal[-1] == Published("returns", 1)


async def test_returns_among_orders_fail_and_the_job_is_one_of_orders(client: ApiClient) -> None:
    response = await client.send([order(), a_return()])
    assert "link" not in response.headers
    assert "notes" not in response.json
    assert client.journal[-1] == Published("orders", 1, rejected=1)
    assert [fault.code for fault in client.publisher.jobs[0].batch.rejected[0].faults] == ["AMBIGUOUS_RECORD"]


async def test_where_the_key_in_the_path_is_encoded_so_is_the_location(client: ApiClient) -> None:
    response = await client.call("POST", "/omnichannel/api/v1/a%2Fb/orders", data=json.dumps(order()))
    assert response.headers["location"].startswith("/common-status/v1/a%2Fb/job/")


@pytest.mark.parametrize(
    "user", ["u", "a/b", "a%b", "a%2Fb", "{curly}", "ünï", "a b", "a+b", "?#&", "..", "x" * 256, "日本", "%", "a;b,c=d"]
)
async def test_the_user_in_the_path_is_decoded_once(client: ApiClient, user: str) -> None:
    response = await client.send(order(userId=...), user=user)
    assert response.json["message"].endswith("Success = 1. Failed = 0")
    assert client.publisher.jobs[0].batch.accepted[0][1].user_id == user


@pytest.mark.parametrize(
    ("user", "user_id", "codes"),
    [
        ("u", "u", []),
        ("u", ..., []),
        ("5", 5, []),
        ("u", "other", ["USER_ID_MISMATCH"]),
        ("x" * 257, ..., ["INVALID_VALUE"]),
        ("a\nb", ..., ["INVALID_VALUE"]),
    ],
)
async def test_the_user_in_the_path_wins(client: ApiClient, user: str, user_id: Any, codes: list[str]) -> None:
    """A faulty record makes a failed job, in a PUT, too."""
    response = await client.send(order(userId=user_id), user=user)
    assert response.status == 202
    assert response.json["message"] == f"Total records = 1. Success = {1 - len(codes)}. Failed = {len(codes)}"
    assert [fault.code for refusal in client.publisher.jobs[0].batch.rejected for fault in refusal.faults] == codes


@pytest.mark.parametrize(
    ("query", "mode"),
    [
        ("", "offline"),
        ("?mode=online", "online"),
        ("?mode=OnLine", "online"),
        ("?MODE=online", "online"),
        ("?Mode=OFFLINE", "offline"),
        ("?mode=online&mode=ONLINE", "online"),
        ("?other=1&x=&mode=online", "online"),
        ("?mode=%6Fnline", "online"),
    ],
)
async def test_mode_is_taken_in_any_case(client: ApiClient, query: str, mode: str) -> None:
    assert (await client.send([order()], query=query)).status == 202
    assert client.publisher.jobs[0].header.mode == mode


@pytest.mark.parametrize("query", ["?mode=", "?mode=both", "?mode=online&mode=offline", "?mode=online%20", "?mode=1"])
async def test_no_other_mode_is(client: ApiClient, query: str) -> None:
    assert (await client.send([order()], query=query)).code == "INVALID_MODE"


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "",
        "application/json",
        "APPLICATION/JSON; charset=utf-8",
        "text/json",
        "application/vnd.shop+json",
        "model/gltf+json",
        "text/plain",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
    ],
)
async def test_these_content_types_pass(client: ApiClient, kind: str | None) -> None:
    assert (await client.send([order()], headers={"Content-Type": kind})).status == 202


@pytest.mark.parametrize("kind", ["text/xml", "application/xml", "multipart/form-data", "image/json", "json"])
async def test_others_do_not(client: ApiClient, kind: str) -> None:
    response = await client.send([order()], headers={"Content-Type": kind})
    assert (response.status, response.code) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("coding", [None, "gzip", "GZIP", "x-gzip", "identity", "identity, X-Gzip"])
@pytest.mark.parametrize("user", [None, "u1"])
async def test_gzip_is_recognised_declared_or_not(client: ApiClient, coding: str | None, user: str | None) -> None:
    body = gzip.compress(json.dumps(order()).encode())
    assert (await client.send(body, user=user, headers={"Content-Encoding": coding})).status == 202


@pytest.mark.parametrize("coding", ["br", "deflate", "zstd", "gzip, br", "gzip, x-gzip", "*"])
async def test_other_codings_are_told_what_is_understood(client: ApiClient, coding: str) -> None:
    response = await client.send([order()], headers={"Content-Encoding": coding})
    assert (response.status, response.code) == (415, "UNSUPPORTED_ENCODING")
    assert response.headers["accept-encoding"] == "gzip"


async def test_gzip_can_be_asked_for() -> None:
    async with import_api(require_gzip=True) as client:
        plain = await client.send([order()])
        assert (plain.status, plain.code, plain.headers["accept-encoding"]) == (415, "GZIP_REQUIRED", "gzip")
        assert (await client.send(gzip.compress(json.dumps([order()]).encode()))).status == 202
        assert (await client.send(order(), user="u1")).status == 202, "a PUT may come as it is"


async def test_a_stray_bracket_can_be_refused() -> None:
    async with import_api(strict_json=True) as client:
        response = await client.send(json.dumps([order()]).encode() + b" }")
        assert (response.status, response.code) == (400, "MALFORMED_JSON")


async def test_the_status_can_be_200() -> None:
    async with import_api(accepted_status=200) as client:
        response = await client.send([order()])
        assert response.status == 200
        assert response.headers["location"].endswith("/events")


@pytest.mark.parametrize("quote", ["’", "”", "'", '"'])
async def test_a_quote_behind_the_token_gets_a_hint(client: ApiClient, quote: str) -> None:
    response = await client.send([order()], headers={"Authorization": f"Bearer good{quote}"})
    assert response.status == 401
    assert "quotation mark" in response.json["detail"]
    assert response.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def test_without_a_token_the_challenge_names_no_error(client: ApiClient) -> None:
    assert (await client.send([order()], token=None)).headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("word", ["Bearer", "bearer", "BEARER"])
async def test_the_word_bearer_is_taken_in_any_case(client: ApiClient, word: str) -> None:
    assert (await client.send([order()], headers={"Authorization": f"{word} good"})).status == 202


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/orders/users/u", "PUT"),
        ("POST", "/orders/users/u", "PUT"),
        ("DELETE", "/returns/users/u", "PUT"),
        ("GET", "/orders", "POST"),
        ("PUT", "/returns", "POST"),
        ("POST", "/limits", "GET"),
    ],
)
async def test_a_wrong_method_is_told_the_right_one(client: ApiClient, method: str, path: str, allow: str) -> None:
    response = await client.call(method, BASE + path)
    assert (response.status, response.headers["allow"]) == (405, allow)
    assert allow in response.json["detail"]


async def test_limits_tell_what_is_left(client: ApiClient) -> None:
    await client.send([order(), order(id="o2")])
    for token in ("good", "orders", "neither"):
        response = await client.call("GET", BASE + "/limits", token=token)
        assert response.status == 200
        assert response.json == {
            "recordsPerSecond": 100,
            "remaining": 98,
            "resetAfterSeconds": 1,
            "recordsPerRequest": 100,
            "bytesPerRequest": 102_400,
            "inflatedBytesPerRequest": 4_194_304,
        }
        assert response.headers["ratelimit"] == '"records";r=98;t=1'
    assert (await client.call("GET", BASE + "/limits", token="other")).status == 403
    assert (await client.call("GET", BASE + "/limits", token=None)).status == 401


async def test_limits_tell_the_truth_when_nothing_is_left(client: ApiClient) -> None:
    await client.send([order(id=str(n)) for n in range(100)])
    response = await client.call("GET", BASE + "/limits")
    assert (response.status, response.json["remaining"]) == (200, 0)


@pytest.mark.parametrize(("limit", "maximum"), [(30, 30), (100, 100), (250, 100)])
async def test_limits_tell_how_many_records_can_pass_at_once(limit: int, maximum: int) -> None:
    async with import_api(records_per_second=limit) as client:
        assert (await client.call("GET", BASE + "/limits")).json["recordsPerRequest"] == maximum
        assert (await client.send([order(id=str(n)) for n in range(maximum)])).status == 202


async def test_a_batch_that_the_limit_can_never_pay_is_too_large() -> None:
    """Waiting would not help: no 429."""
    async with import_api(records_per_second=5) as client:
        for count, malformed in ((6, False), (100, False), (6, True)):
            records: list[Any] = [order(id=str(n)) for n in range(count)]
            refused = await client.send([*records[1:], {"id": ""}] if malformed else records)
            assert (refused.status, refused.code) == (413, "TOO_MANY_RECORDS")
            assert (
                refused.json["detail"] == f"The body holds {count} records; at most 5 records can be sent in a request"
            )
            assert "retry-after" not in refused.headers
        assert client.journal == [Charged(1)] * 3
    async with import_api(records_per_second=5) as client:
        assert (await client.send([order(id=str(n)) for n in range(5)])).status == 202
        assert (await client.send([order(id=str(n)) for n in range(5)])).status == 429, "a batch that can be paid later"
    async with import_api(records_per_second=1) as client:
        refused = await client.send([order(), order(id="o2")])
        assert refused.json["detail"] == "The body holds 2 records; one record can be sent in a request"
        client.rate_limiter.now += 1
        assert (await client.send(order(), user="u1")).status == 202


async def test_kafka_away_is_503_with_the_job(client: ApiClient) -> None:
    client.publisher.is_unavailable = True
    response = await client.send([order()])
    assert (response.status, response.code) == (503, "BROKER_UNAVAILABLE")
    assert UUID(response.json["jobId"]).version == 1
    assert int(response.headers["retry-after"]) >= 1
    assert response.headers["ratelimit"] == '"records";r=99;t=1'


async def test_the_same_key_gets_the_first_answer_again(client: ApiClient) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = await client.send(a_return(), headers=headers)
    again = await client.send(a_return(), headers=headers)
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert {name: again.headers[name] for name in ("location", "link", "content-type")} == {
        name: first.headers[name] for name in ("location", "link", "content-type")
    }
    assert again.headers["ratelimit"] == first.headers["ratelimit"], "a replay costs nothing"
    assert len(client.publisher.jobs) == 1


async def test_the_answer_is_kept_before_it_is_given(client: ApiClient) -> None:
    await client.send([order()], headers={"Idempotency-Key": "k1"})
    assert client.journal[-2:] == [Published("orders", 1), KeyState("completed")]


async def test_a_conflict_and_a_running_request_are_told_apart(client: ApiClient) -> None:
    headers = {"Idempotency-Key": "k1"}
    client.publisher.is_unavailable = True
    assert (await client.send([order()], headers=headers)).status == 503
    client.idempotency.released.clear()
    running = await client.send([order()], headers=headers)
    assert (running.status, running.code) == (409, "IDEMPOTENCY_IN_PROGRESS")
    assert running.headers["retry-after"] == "1"
    conflict = await client.send([order(id="other")], headers=headers)
    assert (conflict.status, conflict.code) == (422, "IDEMPOTENCY_CONFLICT")
    assert (await client.send([order()], headers=headers, token="orders")).status == 503, "keys belong to a client"


async def test_the_store_of_keys_away_is_503_only_for_who_uses_keys(client: ApiClient) -> None:
    client.idempotency.is_unavailable = True
    response = await client.send([order()], headers={"Idempotency-Key": "k1"})
    assert (response.status, response.code) == (503, "UNAVAILABLE")
    assert int(response.headers["retry-after"]) >= 1
    assert response.headers["ratelimit"] == '"records";r=100;t=0'
    assert (await client.send([order()])).status == 202


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [(b"[{", "MALFORMED_JSON", ""), (b"[{}, {}, 5]", "INVALID_TYPE", "/2"), (b"[]", "EMPTY_BATCH", "")],
)
async def test_a_body_at_fault_is_told_where(client: ApiClient, body: bytes, code: str, pointer: str) -> None:
    problem = (await client.send(body)).json
    assert problem["errors"] == [{"pointer": pointer, "code": code, "detail": problem["detail"]}]


async def test_a_defect_is_told_without_a_word_of_it(client: ApiClient) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("a secret")

    client.publisher.publish = fail  # type: ignore[method-assign,assignment]
    response = await client.send([order()])
    assert (response.status, response.code) == (500, "INTERNAL_ERROR")
    assert b"secret" not in response.body
