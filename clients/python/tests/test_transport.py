"""Requests: tokens, retries and errors, for both clients, over responses that each test prescribes."""

import gzip
import json
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from uuid import uuid1, uuid4

import httpx2
import pytest
from transport_server import GOOD, SECRET, Server, problem

import tillstream
from tillstream import AsyncClient, Client, RetryPolicy
from tillstream.encoding import encode_records
from tillstream.http import retry_after_s

pytestmark = pytest.mark.usefixtures("pauses")


def sync_limits(server: Server, **options: Any) -> Any:
    http = httpx2.Client(transport=httpx2.MockTransport(server), base_url="https://t.example")
    with Client("https://t.example", "c", SECRET, "k", http=http, **options) as client:
        return client.imports.limits()


async def async_limits(server: Server, **options: Any) -> Any:
    http = httpx2.AsyncClient(transport=httpx2.MockTransport(server), base_url="https://t.example")
    async with AsyncClient("https://t.example", "c", SECRET, "k", http=http, **options) as client:
        return await client.imports.limits()


@pytest.fixture(params=["sync", "async"])
def limits(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Read the limits with either client."""

    async def call(server: Server, **options: Any) -> Any:
        return sync_limits(server, **options) if request.param == "sync" else await async_limits(server, **options)

    return call


async def test_a_token_is_fetched_once_and_sent(limits: Callable[..., Any]) -> None:
    server = Server(problem(503, "UNAVAILABLE"), GOOD)
    assert (await limits(server)).records_per_second == 100
    assert server.tokens == ["/omnichannel/api/v1/oauth2/token"]
    assert [request.headers["Authorization"] for request in server.requests] == ["Bearer token1"] * 2


@pytest.mark.parametrize(
    "failure",
    [
        problem(429, "RATE_LIMITED", **{"Retry-After": "2"}),
        problem(503, "UNAVAILABLE", **{"Retry-After": "2"}),
        httpx2.Response(502, text="bad gateway", headers={"Retry-After": "2"}),
        problem(408, "BODY_TIMEOUT", **{"Retry-After": "2"}),
    ],
)
async def test_a_busy_server_is_asked_again_when_it_said_so(
    limits: Callable[..., Any], failure: httpx2.Response, pauses: list[float]
) -> None:
    await limits(Server(failure, failure, GOOD))
    assert len(pauses) == 2
    assert all(2 <= pause <= 2.1 for pause in pauses)


@pytest.mark.parametrize(
    "error", [httpx2.ConnectError("refused"), httpx2.ReadTimeout("slow"), httpx2.RemoteProtocolError("cut")]
)
async def test_a_lost_connection_is_tried_again_ever_more_slowly(
    limits: Callable[..., Any], error: Exception, pauses: list[float]
) -> None:
    await limits(Server(error, error, error, GOOD))
    assert [0.1 * 2**n <= pause <= 0.2 * 2**n for n, pause in enumerate(pauses)] == [True] * 3


def test_the_pause_stays_the_same_after_thousands_of_attempts() -> None:
    """Breaks if a command that waits for as long as it takes ends after some hours."""
    assert 10 <= RetryPolicy().backoff_s(5000, None) <= 20


async def test_the_retries_end_with_the_last_failure(limits: Callable[..., Any]) -> None:
    policy = RetryPolicy(max_wait_s=0)
    with pytest.raises(tillstream.UnavailableError) as unavailable:
        await limits(Server(problem(503, "UNAVAILABLE")), retry=policy)
    assert unavailable.value.code == "UNAVAILABLE"
    with pytest.raises(tillstream.UnreachableError):
        await limits(Server(httpx2.ConnectError("refused")), retry=policy)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, tillstream.InvalidRequestError),
        (403, tillstream.NotAllowedError),
        (404, tillstream.NotFoundError),
        (409, tillstream.ConflictError),
        (413, tillstream.InvalidRequestError),
        (422, tillstream.InvalidRequestError),
    ],
)
async def test_a_refusal_is_an_error_with_code_pointer_and_request(
    limits: Callable[..., Any], status: int, error: type[tillstream.ApiError], pauses: list[float]
) -> None:
    with pytest.raises(error) as raised:
        await limits(Server(problem(status, "SOME_CODE")))
    assert type(raised.value) is error
    assert (raised.value.status, raised.value.code, raised.value.request_id) == (status, "SOME_CODE", "r1")
    assert [(fault.pointer, fault.code) for fault in raised.value.faults] == [("/0", "SOME_CODE")]
    assert all(part in str(raised.value) for part in ("SOME_CODE", "a reason", "r1"))
    assert pauses == []


async def test_a_token_request_that_was_too_slow_is_sent_again(limits: Callable[..., Any], pauses: list[float]) -> None:
    server = Server(GOOD, refusals=[problem(408, "BODY_TIMEOUT"), problem(503, "UNAVAILABLE")])
    assert (await limits(server)).records_per_second == 100
    assert len(pauses) == 2


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (httpx2.Response(400, json={"error": "invalid_request"}), tillstream.NotAllowedError),
        (httpx2.Response(400, json={"error": "unauthorized_client"}), tillstream.NotAllowedError),
        (httpx2.Response(401, json={"error": "invalid_client"}), tillstream.NotAllowedError),
        (httpx2.Response(403, text="<html>"), tillstream.NotAllowedError),
        (httpx2.Response(404, text="<html>"), tillstream.UnexpectedResponseError),
        (httpx2.Response(301, headers={"Location": "https://t.example/"}), tillstream.UnexpectedResponseError),
        (httpx2.Response(200, text="<html>"), tillstream.UnexpectedResponseError),
    ],
)
async def test_a_refused_token_request_says_nothing_of_what_was_to_be_sent(
    limits: Callable[..., Any], refusal: httpx2.Response, error: type[Exception], pauses: list[float]
) -> None:
    """Breaks if the refusal is taken for one of the request, whose records would be reported as failed."""
    with pytest.raises(error) as raised:
        await limits(Server(GOOD, refusals=[refusal]))
    assert type(raised.value) is error
    assert pauses == []


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [("0", 0, 0), ("2.5", 2.5, 2.5), ("-1", 0, 0), ("Mon, 01 Jan 2024 00:00:00 GMT", 0, 0), ("in a minute", 55, 65)],
)
def test_the_pause_is_in_seconds_or_until_a_date(value: str, least: float, most: float) -> None:
    if value == "in a minute":
        value = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    pause = retry_after_s({"retry-after": value})
    assert pause is not None
    assert least <= pause <= most
    assert retry_after_s({"retry-after": "soon"}) is None
    assert retry_after_s({}) is None


def test_each_api_has_a_token_of_its_own() -> None:
    """Breaks if the token of one audience is sent to another API, which would refuse it."""
    job = httpx2.Response(200, json={"summary": {"job": JOB}})
    server = Server(GOOD, job, GOOD, job)
    http = httpx2.Client(transport=httpx2.MockTransport(server), base_url="https://t.example")
    with Client("https://t.example", "c", SECRET, "k", http=http) as client:
        for _ in range(2):
            client.imports.limits()
            client.jobs.get("j")
    assert server.tokens == ["/omnichannel/api/v1/oauth2/token", "/common-status/v1/oauth2/token"]
    sent = [request.headers["Authorization"] for request in server.requests]
    assert sent == ["Bearer token1", "Bearer token2"] * 2


async def test_a_server_that_does_not_answer_is_not_waited_for_long() -> None:
    """Breaks if a request has no timeout: with sockets, as a server that hangs."""
    policy = RetryPolicy(max_wait_s=0, timeout_s=0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        who = (f"http://127.0.0.1:{listener.getsockname()[1]}", "c", SECRET, "k")
        with Client(*who, retry=policy) as client, pytest.raises(tillstream.UnreachableError):
            client.imports.limits()
        async with AsyncClient(*who, retry=policy) as other:
            with pytest.raises(tillstream.UnreachableError):
                await other.imports.limits()


async def test_a_refused_token_is_renewed_once(limits: Callable[..., Any]) -> None:
    server = Server(problem(401, "UNAUTHORIZED"), GOOD)
    await limits(server)
    assert [request.headers["Authorization"] for request in server.requests] == ["Bearer token1", "Bearer token2"]
    with pytest.raises(tillstream.NotAllowedError):
        await limits(Server(problem(401, "UNAUTHORIZED")))


async def test_a_token_is_renewed_a_minute_before_it_expires() -> None:
    server = Server(GOOD, lifetime_s=59)
    http = httpx2.Client(transport=httpx2.MockTransport(server), base_url="https://t.example")
    with Client("https://t.example", "c", SECRET, "k", http=http) as client:
        client.imports.limits()
        client.imports.limits()
        assert len(server.tokens) == 2
        server.lifetime_s = 3600
        client.imports.limits()
        client.imports.limits()
    assert len(server.tokens) == 3


async def test_what_is_no_answer_of_the_api_is_said_to_be(limits: Callable[..., Any]) -> None:
    with pytest.raises(tillstream.UnexpectedResponseError):
        await limits(Server(httpx2.Response(200, text="<html>")))


JOB = {
    **dict.fromkeys(("jobId", "name", "state", "status", "jobCreated", "lastModified", "completedAt", "duration"), "x"),
    "terminal": True,
    "baggage": {"records": {"total": 1, "success": 1, "failed": 0}},
    "attributes": {"mode": "offline", "type": "orders"},
}


def test_a_job_that_is_not_shown_yet_is_waited_for(pauses: list[float]) -> None:
    """Breaks if `wait` right after `send` fails while the status API lags behind."""
    found = httpx2.Response(200, json={"summary": {"job": JOB}})
    server = Server(problem(404, "JOB_NOT_FOUND"), problem(404, "JOB_NOT_FOUND"), found)
    http = httpx2.Client(transport=httpx2.MockTransport(server), base_url="https://t.example")
    with Client("https://t.example", "c", SECRET, "k", http=http) as client:
        assert client.jobs.wait(str(uuid1())).terminal
        assert pauses == [1.0, 1.0]
        server.replies = [problem(404, "JOB_NOT_FOUND")]
        for old in ("6ba7b810-9dad-11d1-80b4-00c04fd430c8", str(uuid4()), "x"):
            with pytest.raises(tillstream.NotFoundError):
                client.jobs.wait(old)
        with pytest.raises(tillstream.NotFinishedError):
            client.jobs.wait(str(uuid1()), timeout_s=0)


def test_each_attempt_of_a_post_has_the_same_key_and_body() -> None:
    """Breaks if a lost response makes a second job."""
    accepted = httpx2.Response(202, json={"message": "m", "time": 1, "jobId": "j"})
    server = Server(httpx2.ReadError("cut"), problem(409, "IDEMPOTENCY_IN_PROGRESS"), accepted)
    http = httpx2.Client(transport=httpx2.MockTransport(server), base_url="https://t.example")
    with Client("https://t.example", "c", SECRET, "a/b", http=http) as client:
        assert client.imports.send([{"id": 1}], mode="online").job_id == "j"
        client.imports.send([{"id": 1}])
    keys = [request.headers["Idempotency-Key"] for request in server.requests]
    assert keys[0] == keys[1] == keys[2] != keys[3]
    first = server.requests[0]
    assert str(first.url) == "https://t.example/omnichannel/api/v1/a%2Fb/orders?mode=online"
    assert json.loads(gzip.decompress(first.content)) == [{"id": 1}]
    assert {request.content for request in server.requests[:3]} == {first.content}


class _Http(BaseHTTPRequestHandler):
    """A server with sockets: what the layers below log of a request is seen only with them."""

    protocol_version = "HTTP/1.1"

    def _respond(self, body: dict[str, Any]) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self._respond({"access_token": "token-canary", "expires_in": 3600})

    def do_GET(self) -> None:
        self._respond(json.loads(GOOD.content))

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def test_no_secret_is_logged_at_any_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    # A program in the same process may have silenced it.
    caplog.set_level(0, logger="httpx2")
    with HTTPServer(("127.0.0.1", 0), _Http) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with Client(f"http://127.0.0.1:{server.server_port}", "c", SECRET, "k") as client:
            assert client.imports.limits().records_per_second == 100
        server.shutdown()
        thread.join()
    assert "/limits" in caplog.text
    assert SECRET not in caplog.text
    assert "token-canary" not in caplog.text


def test_no_secret_is_shown() -> None:
    http = httpx2.Client(transport=httpx2.MockTransport(Server(httpx2.ConnectError("x"))), base_url="https://t.example")
    with Client("https://t.example", "c", SECRET, "k", http=http, retry=RetryPolicy(max_wait_s=0)) as client:
        with pytest.raises(tillstream.UnreachableError) as raised:
            client.imports.limits()
        shown = [repr(value) for value in (client.transport.credentials, client, raised.value)]
    assert SECRET not in "".join(shown)
    assert "token1" not in "".join(shown)


def test_amounts_of_a_refused_record_keep_all_their_digits() -> None:
    """Breaks if a record that is mended and sent again comes back with other amounts."""
    result = b'{"index":0,"userId":null,"outcome":"failed","faults":[],"record":{"unitPrice":123456789012.123456}}'
    server = Server(httpx2.Response(200, content=b'{"result":[%b]}' % result))
    http = httpx2.Client(transport=httpx2.MockTransport(server), base_url="https://t.example")
    with Client("https://t.example", "c", SECRET, "k", http=http) as client:
        (record,) = client.jobs.records("j", outcome="failed")
    assert record.record == {"unitPrice": Decimal("123456789012.123456")}
    assert b'"unitPrice":123456789012.123456' in encode_records(record)
