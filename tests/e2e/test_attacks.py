"""Forged tokens, through the gateway; most are signed with auth's own signing key."""

import asyncio
from time import perf_counter
from urllib.parse import urlsplit

import pytest

from tests.e2e.customer import Customer, Reply
from tests.e2e.forger import ATTACKS, Forger
from tests.e2e.installation import Installation

# A slow check makes every request slow; on a busy machine some requests are slow anyway, so the fastest counts.
TRIES = 100
MAX_LATENCY_S = 0.005
APIS = ("omnichannel-api", "common-status")


async def use(customer: Customer, audience: str, token: str) -> Reply:
    """Send a request that a valid token of the audience may make."""
    headers = {"Authorization": f"Bearer {token}"}
    if audience == "common-status":
        return await customer.call("GET", "/common-status/v1/12345/jobs", headers=headers)
    return await customer.call("GET", "/omnichannel/api/v1/12345/limits", headers=headers)


@pytest.fixture(params=APIS, scope="module")
def forger(request: pytest.FixtureRequest, installation: Installation) -> Forger:
    return Forger.with_current_key(installation, request.param)


async def test_the_forger_can_make_a_token_that_is_believed(customer: Customer, forger: Forger) -> None:
    """Otherwise the attacks would only test an invalid signature."""
    assert (await use(customer, forger.audience, forger.token())).status == 200


@pytest.mark.parametrize("attack", ATTACKS)
async def test_an_attack_is_refused_at_once_and_leaves_no_trace(
    customer: Customer, installation: Installation, forger: Forger, attack: str
) -> None:
    token = ATTACKS[attack](forger)
    took_s: list[float] = []
    while len(took_s) < 2 or min(took_s) > MAX_LATENCY_S:
        assert len(took_s) < TRIES, sorted(took_s)[:5]
        began = perf_counter()
        reply = await use(customer, forger.audience, token)
        took_s.append(perf_counter() - began)
        assert reply.status == 401, reply
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        assert reply.code == "UNAUTHORIZED"
        assert not secret_parts(token) & set(str(reply.headers).split(".")), "echoed"
        assert all(part not in reply.body.decode() for part in secret_parts(token)), "echoed"
    logged = "".join(path.read_text(errors="replace") for path in installation.directory.rglob("*.log"))
    assert all(part not in logged for part in secret_parts(token)), "logged"


def secret_parts(token: str) -> set[str]:
    """Return the payload and the signature of a token."""
    return {part for part in token.split(".")[1:] if part}


async def test_a_header_of_a_megabyte_is_refused_without_being_repeated(installation: Installation) -> None:
    """The gateway answers itself: it refuses the header before any service sees the request."""
    address = urlsplit(installation.base)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(b"GET /omnichannel/api/v1/12345/limits HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ")
    sending = asyncio.create_task(send(writer, b"canary" * 180_000 + b"\r\n\r\n"))
    try:
        response = await asyncio.wait_for(reader.read(65_536), 10)
    finally:
        sending.cancel()
        writer.close()
    assert response.startswith(b"HTTP/1.1 431 ")
    assert b"canary" not in response


async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


@pytest.mark.parametrize("size", [12_000, 17_000, 40_000, 100_000])
async def test_a_long_header_is_refused_in_words_that_arrive(customer: Customer, size: int) -> None:
    """Headers up to 16 KiB are read, and a token of that length is invalid; longer headers are refused unread."""
    reply = await use(customer, "omnichannel-api", "x" * size)
    assert reply.status == (401 if size < 16_384 else 431)
    assert reply.json["requestId"] == reply.headers["x-request-id"]
    assert "xxxx" not in str(reply)
