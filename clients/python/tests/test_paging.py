"""Lists that a caller pages himself, and tokens for requests that the library has no method for."""

import asyncio
from typing import Any

import httpx2
import pytest
from transport_server import SECRET, Server

from tillstream import AsyncClient, Client, NotAllowedError, RetryPolicy
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
