"""Lists that a caller pages himself, and tokens for requests that the library has no method for."""

import asyncio
from collections.abc import Iterator
from datetime import date
from typing import Any

import httpx2
import pytest
from transport_server import SECRET, Server, problem

from tillstream import AsyncClient, Client, InvalidRequestError, NotAllowedError, RetryPolicy, UnreachableError
from tillstream.http import LEDGER, STATUS

JOB = {
    "jobId": "j1",
    "name": "n",
    "state": "COMPLETED",
    "status": "PROCESSING",
    "terminal": True,
    "jobCreated": "2026-11-30T10:00:00.000000000Z",
    "lastModified": "2026-11-30T10:00:00.000Z",
    "completedAt": None,
    "duration": "00:00:00",
    "baggage": {"records": {"total": 1, "success": 1, "failed": 0}},
    "attributes": {"mode": "online", "type": "orders"},
}
DELIVERY = {
    "eventId": "ev",
    "sequence": 1,
    "type": "job.finished",
    "state": "pending",
    "attempts": [],
    "nextTryAt": None,
}
RECORD = {"index": 0, "userId": "u", "outcome": "succeeded", "faults": [], "id": "o"}


def a_page(item: dict[str, Any], token: str | None) -> httpx2.Response:
    return httpx2.Response(200, json={"pagination": {"rows": 1, "count": 1, "nextPageToken": token}, "result": [item]})


def a_client(server: Server) -> Client:
    http = httpx2.Client(transport=httpx2.MockTransport(server), base_url="https://t.example")
    return Client("https://t.example", "c", SECRET, "k", http=http, retry=RetryPolicy(max_wait_s=0))


@pytest.mark.parametrize("token", ["t2", None])
def test_a_page_of_jobs_names_the_next_one(token: str | None) -> None:
    server = Server(a_page(JOB, token))
    with a_client(server) as client:
        page = client.jobs.list_page(state="COMPLETED", kind="orders", rows=1, page_token="t1")
    assert ([job.job_id for job in page.items], page.next_page_token) == (["j1"], token)
    assert dict(server.requests[0].url.params) == {"state": "COMPLETED", "type": "orders", "rows": "1", "page": "t1"}


def test_a_page_of_records_is_of_one_outcome() -> None:
    server = Server(a_page(RECORD, "t2"))
    with a_client(server) as client:
        page = client.jobs.records_page("j1", outcome="succeeded")
    assert (page.items[0].id, page.next_page_token) == ("o", "t2")
    assert dict(server.requests[0].url.params) == {"outcome": "succeeded"}


def test_all_records_are_those_of_each_outcome() -> None:
    """The API gives the records of one outcome at a time."""
    server = Server(a_page(RECORD, None))
    with a_client(server) as client:
        assert len(list(client.jobs.records("j1"))) == 3
    assert [request.url.params["outcome"] for request in server.requests] == ["failed", "unprocessed", "succeeded"]


def test_a_page_of_deliveries_names_the_next_one() -> None:
    server = Server(a_page(DELIVERY, "t2"))
    with a_client(server) as client:
        page = client.events.deliveries_page("e/1", rows=1, page_token="t1")
    assert (page.items[0].event_id, page.next_page_token) == ("ev", "t2")
    assert server.requests[0].url.raw_path == b"/events/v1/k/endpoints/e%2F1/deliveries?rows=1&page=t1"


ENTRY: dict[str, Any] = {
    **dict.fromkeys(("orderId", "channel", "userId", "state", "currency"), "x"),
    **dict.fromkeys(("gross", "returned", "net"), "1.5"),
    **dict.fromkeys(("returns", "versions", "flags"), ()),
    "order": None,
}
TRANSACTION: dict[str, Any] = {
    "transactionId": "t1",
    "clientOrderNumber": None,
    "purchaseOrder": {"id": "p", "businessDate": "2026-11-30", "currency": "USD"},
    "status": "PROCESSING",
    "lines": [],
    "counts": {"ordered": 1, "delivered": 0, "pending": 1, "cancelled": 0},
    "total": "1.00",
    "createdAt": "2026-11-30T10:00:00Z",
    "deadline": "2026-12-07T10:00:00Z",
}


def test_a_page_of_a_users_orders_names_the_next_one() -> None:
    server = Server(a_page(ENTRY, "t2"))
    with a_client(server) as client:
        page = client.ledger.user_orders_page("a/b", rows=1, page_token="t1")
    assert (page.items[0].order_id, page.next_page_token) == ("x", "t2")
    assert server.requests[0].url.raw_path == b"/ledger/v1/k/users/a%2Fb/orders?rows=1&page=t1"


def test_a_page_of_orders_of_codes_has_the_filters_of_its_list() -> None:
    server = Server(a_page(TRANSACTION, None))
    with a_client(server) as client:
        page = client.orders.list_page(client_order_number="n1", since=date(2026, 11, 30), page_token="t1")
    assert (page.items[0].transaction_id, page.next_page_token) == ("t1", None)
    assert dict(server.requests[0].url.params) == {"clientOrderNumber": "n1", "from": "2026-11-30", "page": "t1"}


def test_an_export_is_read_piece_by_piece() -> None:
    class Pieces(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b"one\n"
            yield b"two\n"

    with streaming_client(httpx2.Response(200, stream=Pieces())) as client:
        pieces = client.ledger.stream_export(since=date(2026, 11, 1), until=date(2026, 11, 30), format="csv")
        assert list(pieces) == [b"one\n", b"two\n"]


def test_an_export_that_breaks_off_is_not_begun_again() -> None:
    class Broken(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b"one\n"
            raise httpx2.ReadError("lost")

    with streaming_client(httpx2.Response(200, stream=Broken())) as client:
        pieces = client.ledger.stream_export(since=date(2026, 11, 1), until=date(2026, 11, 30))
        assert next(pieces) == b"one\n"
        with pytest.raises(UnreachableError):
            next(pieces)


@pytest.mark.parametrize("refusal", [problem(503, "UNAVAILABLE"), httpx2.ConnectError("away"), problem(401, "EXPIRED")])
def test_an_export_is_tried_again_until_it_begins(
    refusal: httpx2.Response | Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tillstream._sync.transport.sleep", lambda _seconds: None)
    server = Server(refusal, httpx2.Response(200, content=b"one\n"))
    http = httpx2.Client(transport=httpx2.MockTransport(server), base_url="https://t.example")
    with Client("https://t.example", "c", SECRET, "k", http=http, retry=RetryPolicy(max_wait_s=60)) as client:
        pieces = client.ledger.stream_export(since=date(2026, 11, 1), until=date(2026, 11, 30))
        assert b"".join(pieces) == b"one\n"
    assert len(server.requests) == 2


def test_an_export_that_is_refused_is_an_error() -> None:
    with a_client(Server(problem(400, "INVALID_RANGE"))) as client:
        pieces = client.ledger.stream_export(since=date(2026, 11, 1), until=date(2026, 11, 30))
        with pytest.raises(InvalidRequestError):
            next(pieces)


def streaming_client(response: httpx2.Response) -> Client:
    """Return a client whose server streams its response, which cannot be copied."""
    tokens = Server(response)

    def answer(request: httpx2.Request) -> httpx2.Response:
        return tokens(request) if request.url.path.endswith("/oauth2/token") else response

    http = httpx2.Client(transport=httpx2.MockTransport(answer), base_url="https://t.example")
    return Client("https://t.example", "c", SECRET, "k", http=http, retry=RetryPolicy(max_wait_s=0))


def test_a_list_without_pagination_is_one_page() -> None:
    with a_client(Server(httpx2.Response(200, json={"result": [RECORD]}))) as client:
        page = client.jobs.records_page("j1", outcome="failed")
    assert (len(page.items), page.next_page_token) == (1, None)


def test_a_token_is_that_of_its_api_and_is_fetched_once() -> None:
    server = Server()
    with a_client(server) as client:
        tokens = [client.transport.access_token(api) for api in (STATUS, LEDGER, STATUS)]
    assert tokens == ["token1", "token2", "token1"]


def test_a_token_that_is_refused_says_why() -> None:
    refusal = httpx2.Response(401, json={"error": "invalid_client", "error_description": "no"})
    with a_client(Server(refusals=[refusal])) as client, pytest.raises(NotAllowedError) as caught:
        client.transport.access_token(STATUS)
    assert caught.value.status == 401


def test_both_clients_page_alike() -> None:
    async def read() -> str | None:
        server = Server(a_page(JOB, "t2"))
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(server), base_url="https://t.example")
        async with AsyncClient("https://t.example", "c", SECRET, "k", http=http) as client:
            return (await client.jobs.list_page()).next_page_token

    assert asyncio.run(read()) == "t2"
