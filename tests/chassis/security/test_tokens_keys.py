"""The issuer's keys: fetched, kept while the issuer is away, passed over, withdrawn."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import ECAlgorithm
from structlog.testing import capture_logs

from services.chassis.runtime.errors import UnauthorizedError, UnavailableError
from services.chassis.security import jwks
from tests.chassis.eventually import until
from tests.chassis.security.token_fixtures import (
    CURVE_KEY,
    KEY,
    OTHER_KEY,
    VerifierHarness,
    a_token,
    build_harness,
    harness,
    jwk,
    key_set,
)

__all__ = ["harness"]


async def test_es256_is_taken_where_it_is_the_one_algorithm() -> None:
    harness = build_harness("ES256")
    public = ECAlgorithm.to_jwk(CURVE_KEY.public_key(), as_dict=True)
    harness.issuer.document = key_set({**public, "kid": "k1"}, jwk(KEY, "k2"))
    assert await harness.verifier.keys.refresh()
    assert (await harness.verifier.verify(a_token(key=CURVE_KEY, algorithm="ES256"))).site == 608
    with pytest.raises(UnauthorizedError):
        await harness.verifier.verify(a_token(header={"kid": "k2"}))


async def test_without_any_key_the_answer_is_unknown_not_no() -> None:
    harness = build_harness()
    harness.issuer.document = OSError("refused")
    assert not harness.verifier.keys.ready
    with pytest.raises(UnavailableError):
        await harness.verifier.verify(a_token())
    assert not harness.verifier.keys.ready


async def test_an_unknown_key_is_asked_for_once_in_thirty_seconds(harness: VerifierHarness) -> None:
    harness.issuer.document = key_set(jwk(KEY, "k1"), jwk(OTHER_KEY, "k2"))
    fresh = a_token(key=OTHER_KEY, header={"kid": "k2"})
    assert (await harness.verifier.verify(fresh)).site == 608
    assert harness.issuer.fetches == 2
    for _ in range(3):
        with pytest.raises(UnauthorizedError):
            await harness.verifier.verify(a_token(header={"kid": "k9"}))
    assert harness.issuer.fetches == 2
    harness.clock.at += 30
    with pytest.raises(UnauthorizedError):
        await harness.verifier.verify(a_token(header={"kid": "k9"}))
    assert harness.issuer.fetches == 3


async def test_who_comes_while_an_unknown_key_is_asked_for_waits_for_the_answer(harness: VerifierHarness) -> None:
    """After a rotation many tokens of the new key come at once: none of them is refused."""
    answer = key_set(jwk(KEY, "k1"), jwk(OTHER_KEY, "k2"))
    answered = asyncio.Event()

    async def slow() -> bytes:
        await answered.wait()
        return answer

    harness.verifier.keys._fetch = slow
    tokens = [a_token(key=OTHER_KEY, header={"kid": "k2"}, jti=str(number)) for number in range(3)]
    verifying = [asyncio.create_task(harness.verifier.verify(token)) for token in tokens]
    await asyncio.sleep(0)
    answered.set()
    assert [token.token_id for token in await asyncio.gather(*verifying)] == ["0", "1", "2"]


async def test_keys_that_could_not_be_had_are_asked_for_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "RETRY_S", 0.01)
    harness = build_harness()
    answers: list[bytes | Exception] = [OSError("refused"), TimeoutError(), key_set(jwk(KEY, "k1"))]

    async def fetch() -> bytes:
        harness.issuer.document = answers.pop(0)
        return await harness.issuer.fetch()

    harness.verifier.keys._fetch = fetch
    jwks.FETCHED_AT.set(0)
    await harness.verifier.keys.start()
    await until(lambda: harness.verifier.keys.ready)
    await harness.verifier.keys.stop()
    assert jwks.FETCHED_AT._value.get() > 0


@pytest.mark.parametrize(
    ("path", "is_taken"), [("/keys", True), ("/moved", False), ("/error", False), ("/page", False), ("/long", False)]
)
async def test_the_issuer_is_asked_over_http_and_believed_only_where_it_is(path: str, *, is_taken: bool) -> None:
    keys = key_set(jwk(KEY, "k1"))

    async def moved(_request: web.Request) -> web.Response:
        raise web.HTTPFound("/keys")

    async def answer(request: web.Request) -> web.Response:
        known = {"/keys": (200, keys), "/error": (500, keys), "/page": (200, b"<html>")}
        status, body = known.get(request.path, (200, keys + b" " * jwks.MAX_JWKS_BYTES))
        return web.Response(status=status, body=body)

    app = web.Application()
    app.add_routes([web.get("/moved", moved), web.get("/{any}", answer)])
    async with TestServer(app) as server:
        asked = jwks.Jwks(str(server.make_url(path)), "RS256")
        assert await asked.refresh() is is_taken
        assert asked.ready is is_taken
        await asked.stop()


@pytest.mark.parametrize(
    "answer",
    [OSError("refused"), TimeoutError(), b"", b"<html>", b"[]", b'{"keys": 1}', b'{"keys": [1]}', key_set()],
    ids=["refused", "slow", "empty", "html", "list", "number", "numbers", "no keys"],
)
async def test_old_keys_are_kept_while_the_issuer_is_away(harness: VerifierHarness, answer: bytes | Exception) -> None:
    harness.issuer.document = answer
    assert not await harness.verifier.keys.refresh()
    assert harness.verifier.keys.ready
    assert (await harness.verifier.verify(a_token())).site == 608


async def test_an_outage_of_the_issuer_is_told_once(harness: VerifierHarness) -> None:
    answers: list[bytes | Exception] = [
        OSError("refused"),
        OSError("refused"),
        TimeoutError(),
        key_set(jwk(KEY, "k1")),
        TimeoutError(),
    ]
    with capture_logs() as lines:
        for harness.issuer.document in answers:
            await harness.verifier.keys.refresh()
    assert [line["reason"] for line in lines] == ["OSError", "TimeoutError", "TimeoutError"]


async def test_a_withdrawn_key_takes_its_remembered_tokens_along(harness: VerifierHarness) -> None:
    token = a_token()
    await harness.verifier.verify(token)
    harness.issuer.document = key_set(jwk(OTHER_KEY, "k2"))
    await harness.verifier.keys.refresh()
    assert harness.verifier.cached(token) is None
    with pytest.raises(UnauthorizedError):
        await harness.verifier.verify(token)


@pytest.mark.parametrize(
    "strange",
    [
        jwk(KEY, "k1", use="enc"),
        jwk(KEY, "k1", alg="RS512"),
        jwk(KEY, "k1", d="AQAB"),
        jwk(rsa.generate_private_key(public_exponent=65537, key_size=1024), "k1"),  # noqa: S505 - too small on purpose
        {"kty": "oct", "k": "AAAA", "kid": "k1"},
        {"kty": "RSA", "kid": "k1"},
        {name: value for name, value in jwk(KEY, "k1").items() if name != "kid"},
    ],
    ids=["for encryption", "other algorithm", "private", "small", "secret", "empty", "nameless"],
)
async def test_keys_that_cannot_be_meant_are_passed_over(strange: dict[str, Any]) -> None:
    harness = build_harness()
    harness.issuer.document = key_set(strange)
    assert not await harness.verifier.keys.refresh()
    harness.issuer.document = key_set(strange, jwk(OTHER_KEY, "k2"))
    assert await harness.verifier.keys.refresh()
    with pytest.raises(UnauthorizedError):
        await harness.verifier.verify(a_token())
