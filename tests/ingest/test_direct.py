"""The direct handler answers as the API's own handlers do, and takes nothing but common requests."""

import asyncio
import gzip
import json
import logging
import re
from typing import Any

import pytest
from prometheus_client import Gauge
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from services.chassis.http.request_metrics import IN_FLIGHT
from services.chassis.runtime.metrics import REGISTRY
from services.ingest import metrics
from tests.chassis.eventually import until
from tests.ingest.client import BASE, ApiClient, Response, import_api, request_head
from tests.ingest.fakes import Charged, Published, order

USER = f"{BASE}/orders/users/u1"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
BODY = json.dumps(order()).encode()
# What differs between any two responses.
VARYING = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-1[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}|\d+:\d+:\d+ GMT|dur=\d+\.\d"
)

TAKEN: dict[str, dict[str, Any]] = {
    "an order": {},
    "a request id and a trace": {"headers": {"X-Request-Id": "mine", "traceparent": TRACE}},
    "a malformed request id": {"headers": {"X-Request-Id": "not an id"}},
    "no media type": {"headers": {"Content-Type": None}},
    "a media type with parameters": {"headers": {"Content-Type": "text/json; charset=utf-8"}},
    "another header, and a text that is not ASCII": {"data": order(couponCode="Ä"), "headers": {"X-Other": "1"}},
    "a body of 4 KiB": {"data": BODY.ljust(4096)},
    "a return": {
        "path": f"{BASE}/returns/users/u1",
        "data": {**order(), "orderId": "o1", "returnId": "r1", "id": ...},
    },
}
DECLINED: dict[str, dict[str, Any]] = {
    "POST": {"method": "POST", "path": f"{BASE}/orders"},
    "a query": {"path": f"{USER}?mode=online"},
    "an escaped user": {"path": f"{BASE}/orders/users/u%31"},
    "a user that is a relative path": {"path": f"{BASE}/orders/users/.."},
    "another user than the body's": {"path": f"{BASE}/orders/users/u2"},
    "an unknown route": {"path": f"{BASE}/refunds/users/u1"},
    "an unknown apiKey": {"path": "/omnichannel/api/v1/nobody/orders/users/u1"},
    "another site's apiKey": {"path": "/omnichannel/api/v1/67890/orders/users/u1"},
    "no token": {"token": None},
    "an unknown token": {"token": "bad"},
    "a token without the scope": {"token": "returns"},
    "an idempotency key": {"headers": {"Idempotency-Key": "k1"}},
    "a coding": {"headers": {"Content-Encoding": "gzip"}, "data": gzip.compress(BODY)},
    "an undeclared coding": {"data": gzip.compress(BODY)},
    "an unknown coding": {"headers": {"Content-Encoding": "br"}},
    "a media type that is no JSON": {"headers": {"Content-Type": "image/png"}},
    "Connection: close": {"headers": {"Connection": "close"}},
    "a body of more than 4 KiB": {"data": BODY.ljust(4097)},
    "a body that is too large": {"data": b" " * 102_401},
    "no body": {"data": b""},
    "no JSON": {"data": b"{"},
    "no UTF-8": {"data": b'{"id":"\xff"}'},
    "a rejected record": {"data": order(lineItems=[])},
    "a record with notes": {"data": order(unknown=1)},
    "two records": {"data": [order(), order(id="o2")]},
}


async def respond(client: ApiClient, change: dict[str, Any]) -> Response:
    data = change.get("data", BODY)
    if not isinstance(data, bytes):
        data = json.dumps(data if isinstance(data, list) else {k: v for k, v in data.items() if v is not ...}).encode()
    options = {name: change[name] for name in ("headers", "token") if name in change}
    return await client.call(change.get("method", "PUT"), change.get("path", USER), data=data, **options)


def comparable(response: Response) -> tuple[int, dict[str, str], Any]:
    headers = {name: VARYING.sub("…", value) for name, value in response.headers.items()}
    return response.status, headers, VARYING.sub("…", response.body.decode())


@pytest.mark.parametrize("change", [*TAKEN.values(), *DECLINED.values()], ids=[*TAKEN, *DECLINED])
async def test_both_handlers_respond_alike(change: dict[str, Any]) -> None:
    async with import_api() as client, import_api(direct=False) as reference:
        directly, expected = await respond(client, change), await respond(reference, change)
        assert comparable(directly) == comparable(expected)
        assert client.journal == reference.journal
        assert [_published(job) for job in client.publisher.jobs] == [
            _published(job) for job in reference.publisher.jobs
        ]


def _published(job: Any) -> Any:
    return job.batch, job.traceparent, job.is_ascii, (job.header.site, job.header.total, job.header.created_at)


@pytest.mark.parametrize(
    ("change", "is_taken"),
    [(change, True) for change in TAKEN.values()] + [(change, False) for change in DECLINED.values()],
    ids=[*TAKEN, *DECLINED],
)
async def test_only_common_requests_are_taken(change: dict[str, Any], *, is_taken: bool) -> None:
    async with import_api() as client:
        await respond(client, change)
        assert any(client.offers) == is_taken


def metric_samples() -> dict[str, float]:
    """All counters and histograms of requests, apart from what depends on the time that they take."""
    return {
        f"{sample.name}{sample.labels}": sample.value
        for family in REGISTRY.collect()
        if family.name.startswith(("http_", "ingest_"))
        for sample in family.samples
        if "seconds_bucket" not in sample.name and "seconds_sum" not in sample.name
    }


@pytest.mark.parametrize("change", TAKEN.values(), ids=TAKEN)
async def test_both_handlers_count_alike(change: dict[str, Any]) -> None:
    growth = []
    for direct in (True, False):
        async with import_api(direct=direct) as client:
            before = metric_samples()
            await respond(client, change)
            after = metric_samples()
            growth.append({name: grown for name, value in after.items() if (grown := value - before.get(name, 0))})
    assert growth[0] == growth[1]
    assert any("userId" in name for name in growth[0])


async def test_a_throttled_request_is_not_parsed_and_not_charged() -> None:
    async with import_api(records_per_second=1) as client:
        await respond(client, {})
        throttled = await respond(client, {})
        assert (throttled.status, client.offers) == (429, [True, False])
        assert client.journal == [Charged(1), Published("orders", 1)]


async def test_a_body_beyond_the_budget_is_refused() -> None:
    async with import_api(max_bytes_in_flight=1_000) as client:
        assert (await respond(client, {})).status == 503
        assert client.offers == [False]
        assert client.journal == []


@pytest.mark.parametrize("direct", [True, False])
async def test_an_unacknowledged_job_is_reported_with_its_ids(*, direct: bool) -> None:
    async with import_api(direct=direct) as client:
        client.publisher.is_unavailable = True
        with capture_logs(processors=[merge_contextvars]) as lines:
            response = await respond(client, {"headers": {"X-Request-Id": "mine", "traceparent": TRACE}})
        assert (response.status, response.code) == (503, "BROKER_UNAVAILABLE")
        assert response.headers["retry-after"]
        (line,) = [line for line in lines if line["event"] == "publish not acknowledged"]
        assert (line["requestId"], line["traceparent"]) == ("mine", TRACE)
        assert line["jobId"] == response.json["jobId"]


@pytest.mark.parametrize("direct", [True, False])
async def test_a_defect_of_publishing_is_an_internal_error(monkeypatch: pytest.MonkeyPatch, *, direct: bool) -> None:
    async with import_api(direct=direct) as client:

        async def fail(_job: Any) -> None:
            raise RuntimeError("canary")

        monkeypatch.setattr(client.publisher, "publish", fail)
        response = await respond(client, {})
        assert (response.status, response.code) == (500, "INTERNAL_ERROR")
        assert b"canary" not in response.body


async def test_a_defect_of_the_direct_handler_leaves_the_request_to_the_other_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Breaks: the bytes remain charged, until all common requests of the client are declined."""
    async with import_api() as client:

        def fail(_job: Any, _on_settled: Any) -> None:
            raise RuntimeError

        monkeypatch.setattr(client.publisher, "publish_nowait", fail)
        assert (await respond(client, {})).status == 202
        assert client.offers == []
        assert value_of(metrics.BYTES_IN_FLIGHT) == 0


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
async def test_an_accepted_job_is_logged_with_its_ids_while_debugging(
    caplog: pytest.LogCaptureFixture, level: int, *, direct: bool
) -> None:
    """The runbook's first look at a log."""
    caplog.set_level(level)
    async with import_api(direct=direct) as client:
        with capture_logs(processors=[merge_contextvars]) as lines:
            response = await respond(client, {"headers": {"X-Request-Id": "mine", "traceparent": TRACE}})
    found = [line for line in lines if line["event"] == "job accepted"]
    ids = {"requestId": "mine", "jobId": response.json["jobId"], "traceparent": TRACE}
    accepted = {"event": "job accepted", "log_level": "debug", "site": 608, "total": 1} | ids
    assert found == [accepted] * (level == logging.DEBUG)


def value_of(gauge: Gauge) -> float:
    (family,) = gauge.collect()
    return family.samples[0].value


async def test_memory_is_charged_until_the_response() -> None:
    async with import_api() as client:
        client.publisher.gate = asyncio.Event()
        request = asyncio.create_task(respond(client, {}))
        await until(lambda: value_of(metrics.BYTES_IN_FLIGHT) > len(BODY))
        assert value_of(IN_FLIGHT) == 1
        client.publisher.gate.set()
        assert (await request).status == 202
        assert value_of(metrics.BYTES_IN_FLIGHT) == 0
        assert value_of(IN_FLIGHT) == 0


async def test_a_request_in_two_pieces_is_answered_by_the_other_handler() -> None:
    async with import_api() as client:
        head = request_head("PUT", USER, "Content-Type: application/json", f"Content-Length: {len(BODY)}")
        assert (await client.send_raw(head, BODY[:50], BODY[50:])).startswith(b"HTTP/1.1 202 ")
        assert Published("orders", 1) in client.journal


async def test_100_continue_still_comes_before_the_body() -> None:
    async with import_api() as client:
        head = request_head("PUT", USER, "Expect: 100-continue", f"Content-Length: {len(BODY)}")
        assert (await client.send_raw(head)).startswith(b"HTTP/1.1 100 Continue\r\n")
        assert not any(client.offers)
