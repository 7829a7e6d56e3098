"""Requests that may have been carried out although no response arrived."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from transport_server import GOOD, SECRET, Reply, Server, problem

import tillstream
from tillstream import Client

pytestmark = pytest.mark.usefixtures("pauses")

ONCE: dict[str, Callable[[Client], Any]] = {
    "create_endpoint": lambda client: client.events.create_endpoint("https://r.example"),
    "rotate_secret": lambda client: client.events.rotate_secret("e"),
    "replay": lambda client: client.events.replay("e", event_id="x"),
}
ENDPOINT = {"id": "e", "url": "https://r.example", "types": [], "description": "", "ordered": False, "enabled": True}


def call_once(name: str, *replies: Reply) -> list[httpx2.Request]:
    """Call what must not be done twice, and return what was sent."""
    server = Server(*replies)
    http = httpx2.Client(transport=httpx2.MockTransport(server), base_url="https://t.example")
    with Client("https://t.example", "c", SECRET, "k", http=http) as client:
        try:
            ONCE[name](client)
        finally:
            sent = server.requests
    return sent


@pytest.mark.parametrize("name", ONCE)
@pytest.mark.parametrize("error", [httpx2.ReadTimeout("slow"), httpx2.ReadError("cut"), httpx2.WriteError("cut")])
def test_what_may_have_been_done_already_is_not_done_again(name: str, error: Exception, pauses: list[float]) -> None:
    """Breaks if a lost response makes a second endpoint, rotates a secret twice or replays twice."""
    with pytest.raises(tillstream.OutcomeUnknownError, match="may have been carried out"):
        call_once(name, error, GOOD)
    assert pauses == []


@pytest.mark.parametrize("name", ONCE)
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_that_failed_may_have_done_it(name: str, status: int, pauses: list[float]) -> None:
    with pytest.raises(tillstream.UnavailableError):
        call_once(name, problem(status, "SOME_CODE"), GOOD)
    assert pauses == []


@pytest.mark.parametrize("name", ONCE)
def test_what_was_not_sent_or_not_accepted_is_sent_again(name: str) -> None:
    replies: list[Reply] = [httpx2.ConnectError("refused"), httpx2.ConnectTimeout("slow"), problem(429, "RATE_LIMITED")]
    endpoint = httpx2.Response(201, json=ENDPOINT | {"createdAt": "2026-01-01T00:00:00Z"})
    assert len(call_once(name, *replies, endpoint)) == 4


def delete_endpoint(*replies: Reply) -> None:
    http = httpx2.Client(transport=httpx2.MockTransport(Server(*replies)), base_url="https://t.example")
    with Client("https://t.example", "c", SECRET, "k", http=http) as client:
        client.events.delete_endpoint("e")


NOT_FOUND = problem(404, "NOT_FOUND")


@pytest.mark.parametrize("failure", [httpx2.ReadError("cut"), problem(502, "BAD_GATEWAY"), problem(503, "UNAVAILABLE")])
def test_an_endpoint_that_an_earlier_attempt_deleted_is_deleted(failure: Reply) -> None:
    """Breaks if a lost response makes the caller believe that there was no such endpoint."""
    delete_endpoint(failure, NOT_FOUND)
    delete_endpoint(failure, problem(429, "RATE_LIMITED"), NOT_FOUND)


@pytest.mark.parametrize(
    "replies", [[], [httpx2.ConnectError("refused")], [problem(429, "RATE_LIMITED")], [problem(401, "UNAUTHORIZED")]]
)
def test_an_endpoint_that_nothing_can_have_deleted_was_not_there(replies: list[Reply]) -> None:
    with pytest.raises(tillstream.NotFoundError):
        delete_endpoint(*replies, NOT_FOUND)


def test_a_single_record_is_sent_under_the_same_key_each_time() -> None:
    """Breaks if a lost response of a PUT makes a second job."""
    accepted = httpx2.Response(202, json={"message": "m", "time": 1, "jobId": "j"})
    server = Server(httpx2.ReadError("cut"), accepted)
    http = httpx2.Client(transport=httpx2.MockTransport(server), base_url="https://t.example")
    with Client("https://t.example", "c", SECRET, "k", http=http) as client:
        assert client.imports.send_one({"id": 1}, user_id="u").job_id == "j"
        client.imports.send_one({"id": 1}, user_id="u", idempotency_key="mine")
    keys = [request.headers["Idempotency-Key"] for request in server.requests]
    assert keys[0] == keys[1] != keys[2] == "mine"
