"""How receivers misbehave, and what is recorded of it."""

import asyncio
import socket
import threading
from typing import Any

import pytest

from services.webhooks.adapters.http_transport import parse_retry_after
from services.webhooks.domain.delivery import Outcome
from tests.chassis.eventually import until
from tests.webhooks.events import NOON_US
from tests.webhooks.transport_harness import Receiver, a_transport, post, receiver, resolver

__all__ = ["receiver"]


async def ask(receiver: Receiver, kind: str, *, timeout_s: float = 15) -> Outcome:
    async with a_transport(allow_loopback=True, timeout_s=timeout_s) as transport:
        return await post(transport, receiver.url(kind))


async def test_an_accepted_request(receiver: Receiver) -> None:
    outcome = await ask(receiver, "ok")
    assert (outcome.status, outcome.answer, outcome.error) == (200, "fine", None)


async def test_a_receiver_that_hangs_is_left_alone_in_time(receiver: Receiver) -> None:
    outcome = await ask(receiver, "hangs", timeout_s=0.3)
    assert (outcome.status, outcome.error) == (None, "timeout")
    assert 300 <= outcome.latency_ms < 5_000


async def test_redirects_are_not_followed(receiver: Receiver) -> None:
    outcome = await ask(receiver, "redirects")
    assert (outcome.status, outcome.is_success) == (302, False)
    assert receiver.visited == ["redirects"]


async def test_encoded_line_breaks_stay_in_the_path(receiver: Receiver) -> None:
    """Breaks: the URL has CR and LF, percent-encoded. Must hold: they end no line of the request."""
    outcome = await ask(receiver, "ok%0D%0AHost:%20inside")
    assert outcome.status == 200
    assert receiver.visited == ["ok\r\nHost: inside"]


async def test_of_a_long_answer_the_beginning_is_read(receiver: Receiver) -> None:
    outcome = await ask(receiver, "large")
    assert (outcome.status, outcome.answer) == (200, "x" * 256)


async def test_a_status_counts_although_the_body_drips(receiver: Receiver) -> None:
    outcome = await ask(receiver, "slow", timeout_s=2)
    assert (outcome.status, outcome.is_success) == (200, True)


async def test_retry_after_is_read(receiver: Receiver) -> None:
    outcome = await ask(receiver, "busy")
    assert (outcome.status, outcome.retry_after_us) == (429, 120_000_000)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("soon", 0),
        ("-5", 0),
        ("5", 5),
        (" 5 ", 5),
        ("999999999", 86_400),
        ("Thu, 01 Jan 2026 12:01:00 GMT", 60),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0),
        ("Thu, 01 Jan 2099 11:00:00 GMT", 86_400),
    ],
)
def test_retry_after(text: str | None, seconds: int) -> None:
    assert parse_retry_after(text, now_us=NOON_US) == seconds * 1_000_000


async def test_a_name_without_an_address() -> None:
    async with a_transport(socket.gaierror(-2, "unknown")) as transport:
        assert ((await post(transport)).error or "").partition(":")[0] == "dns"


async def test_a_name_server_that_answers_nothing_holds_up_no_other_name(receiver: Receiver) -> None:
    """Each look-up has a thread of its own, and the request ends in time."""
    released = threading.Event()

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        if host == "silent.example":
            released.wait(30)
        return resolver(["127.0.0.1"])(host, port)  # type: ignore[no-any-return]

    async with a_transport(allow_loopback=True, timeout_s=0.3, getaddrinfo=getaddrinfo) as transport:
        waiting = [asyncio.create_task(post(transport, "https://silent.example/")) for _ in range(3)]
        outcome = await post(transport, f"http://shop.example:{receiver.port}/ok")
        assert outcome.status == 200
        assert {each.error for each in await asyncio.gather(*waiting)} == {"timeout"}
        released.set()


async def test_no_thread_of_the_resolver_outlives_the_transport(receiver: Receiver) -> None:
    before = set(threading.enumerate())
    async with a_transport(["127.0.0.1"], allow_loopback=True) as transport:
        assert (await post(transport, f"http://shop.example:{receiver.port}/ok")).status == 200
        started = set(threading.enumerate()) - before
        assert started
        assert transport._session is not None
        # Garbage collection would end them, too.
        connector = transport._session.connector
    await until(lambda: not any(thread.is_alive() for thread in started))
    assert connector is not None


async def test_nothing_listens(receiver: Receiver) -> None:
    url = receiver.url("ok")
    await receiver.server.close()
    async with a_transport(allow_loopback=True) as transport:
        outcome = await post(transport, url)
    assert (outcome.error or "").partition(":")[0] == "connect"
