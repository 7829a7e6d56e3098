"""Tokens that prove nothing, one for each known attack: refused, and never repeated."""

import base64
import hmac
import json
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from services.chassis.runtime.errors import UnauthorizedError
from tests.chassis.security.token_fixtures import (
    AUDIENCE,
    CLAIMS,
    CURVE_KEY,
    ISSUER,
    KEY,
    NOW,
    OTHER_KEY,
    VerifierHarness,
    a_token,
    harness,
    jwk,
)

__all__ = ["harness"]


def sign_by_hand(header: str, payload: str, *, key: rsa.RSAPrivateKey = KEY) -> str:
    """A token of any two texts, signed properly."""
    signing_input = f"{_b64(header.encode())}.{_b64(payload.encode())}"
    signature = RSAAlgorithm(RSAAlgorithm.SHA256).sign(signing_input.encode(), key)
    return f"{signing_input}.{_b64(signature)}"


def _b64(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


HEADER = '{"alg":"RS256","typ":"at+jwt","kid":"k1"}'


def hmac_with_the_public_key() -> str:
    public = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    signing_input = f"{_b64(HEADER.replace('RS256', 'HS256').encode())}.{_b64(json.dumps(CLAIMS).encode())}"
    return f"{signing_input}.{_b64(hmac.digest(public, signing_input.encode(), 'sha256'))}"


def unsigned() -> str:
    return f"{_b64(HEADER.replace('RS256', 'none').encode())}.{_b64(json.dumps(CLAIMS).encode())}."


def with_another_last_letter() -> str:
    """The same bytes, spelled differently: the last letter carries bits that decode to nothing."""
    token = a_token()
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + letters[letters.index(token[-1]) ^ 1]


def tampered() -> str:
    token = a_token()
    return token[:-6] + ("AAAAAA" if token[-6:] != "AAAAAA" else "BBBBBB")


def with_other_claims() -> str:
    head, _, signature = a_token().split(".")
    return f"{head}.{_b64(json.dumps({**CLAIMS, 'site': 609}).encode())}.{signature}"


STRANGE_HEADERS: dict[str, object] = {
    "jku": "https://evil.example/jwks.json",
    "x5u": "https://evil.example/cert.pem",
    "jwk": jwk(OTHER_KEY, "k1"),
    "x5c": ["MIIB"],
    "crit": ["exp"],
    "zip": "DEF",
    "b64": True,
    "cty": "JWT",
}
ATTACKS: dict[str, Callable[[], str]] = {
    "alg none": unsigned,
    "alg none without its dot": lambda: unsigned().rstrip("."),
    "HS256 keyed with the public key": hmac_with_the_public_key,
    "ES256 where RS256 is in use": lambda: a_token(key=CURVE_KEY, algorithm="ES256"),
    "RS512 with the right key": lambda: a_token(algorithm="RS512"),
    "PS256 with the right key": lambda: a_token(algorithm="PS256"),
    "signed with another key": lambda: a_token(key=OTHER_KEY),
    "unknown kid": lambda: a_token(header={"kid": "k9"}),
    "kid that is a path": lambda: a_token(header={"kid": "../../dev/null"}),
    "kid that is a number": lambda: sign_by_hand('{"alg":"RS256","typ":"at+jwt","kid":1}', json.dumps(CLAIMS)),
    "no kid": lambda: sign_by_hand('{"alg":"RS256","typ":"at+jwt"}', json.dumps(CLAIMS)),
    "typ JWT": lambda: a_token(header={"typ": "JWT"}),
    "no typ": lambda: sign_by_hand('{"alg":"RS256","kid":"k1"}', json.dumps(CLAIMS)),
    "typ that is a list": lambda: sign_by_hand('{"alg":"RS256","typ":["at+jwt"],"kid":"k1"}', json.dumps(CLAIMS)),
    "alg twice": lambda: sign_by_hand('{"alg":"none","alg":"RS256","typ":"at+jwt","kid":"k1"}', json.dumps(CLAIMS)),
    "aud of another API": lambda: a_token(aud="common-status"),
    "aud as a list": lambda: a_token(aud=[AUDIENCE]),
    "aud as a list of two": lambda: a_token(aud=[AUDIENCE, "common-status"]),
    "other issuer": lambda: a_token(iss="https://qa.tillstream.example"),
    "issuer with a slash more": lambda: a_token(iss=ISSUER + "/"),
    "expired": lambda: a_token(iat=NOW - 28_860, exp=NOW - 60),
    "not yet valid": lambda: a_token(iat=NOW + 61, exp=NOW + 1_000),
    "nbf to come": lambda: a_token(nbf=NOW + 61),
    "nbf that is a text": lambda: a_token(nbf="now"),
    "lifetime of nine hours": lambda: a_token(exp=NOW + 32_400),
    "lifetime of a second too many": lambda: a_token(exp=NOW + 28_801),
    "expires before it was issued": lambda: a_token(exp=NOW - 1),
    "exp as a text": lambda: a_token(exp=str(NOW + 100)),
    "exp as a float": lambda: a_token(exp=NOW + 100.5),
    "exp as true": lambda: a_token(exp=True),
    "exp infinite": lambda: a_token(exp=float("inf")),
    "site as a text": lambda: a_token(site="608"),
    "site as true": lambda: a_token(site=True),
    "sub empty": lambda: a_token(sub=""),
    "scope as a list": lambda: a_token(scope=["orders:write"]),
    "api_keys as a text": lambda: a_token(api_keys="12345"),
    "api_keys of numbers": lambda: a_token(api_keys=[12345]),
    "claims twice": lambda: sign_by_hand(HEADER, json.dumps(CLAIMS)[:-1] + ', "site": 609}'),
    "aud twice": lambda: sign_by_hand(HEADER, '{"aud": "common-status", ' + json.dumps(CLAIMS)[1:]),
    "claims that are a list": lambda: sign_by_hand(HEADER, "[]"),
    "claims that are no JSON": lambda: sign_by_hand(HEADER, "{"),
    "claims nested deep": lambda: sign_by_hand(HEADER, "[" * 1500),
    "claims that are no text": lambda: sign_by_hand(HEADER, "\x00"),
    "header nested deep": lambda: sign_by_hand("[" * 1500, json.dumps(CLAIMS)),
    "header that is null": lambda: sign_by_hand("null", json.dumps(CLAIMS)),
    "five kilobytes": lambda: a_token(scope="s" * 4_000),
    "five kilobytes of dots": lambda: "." * 5_000,
    "nothing": lambda: "",
    "two dots": lambda: "..",
    "not base64": lambda: "a*b.c.d",
    "four parts": lambda: a_token() + ".x",
    "padded": lambda: a_token() + "==",
    "tampered signature": tampered,
    "tampered claims": with_other_claims,
    "another last letter": with_another_last_letter,
    "surrogates": lambda: "\udc92.\udc92.\udc92",
    **{f"without {name}": lambda name=name: a_token(without=name) for name in CLAIMS},  # type: ignore[misc]
    **{
        f"header {name}": lambda name=name, value=value: a_token(header={name: value})  # type: ignore[misc]
        for name, value in STRANGE_HEADERS.items()
        if name not in {"crit", "b64"}
    },
    **{
        f"header {name}": lambda name=name, value=value: sign_by_hand(  # type: ignore[misc]
            json.dumps({"alg": "RS256", "typ": "at+jwt", "kid": "k1", name: value}), json.dumps(CLAIMS)
        )
        for name, value in STRANGE_HEADERS.items()
        if name in {"crit", "b64"}
    },
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
async def test_a_token_that_proves_nothing_is_refused(harness: VerifierHarness, attack: Callable[[], str]) -> None:
    token = attack()
    with pytest.raises(UnauthorizedError) as refusal:
        await harness.verifier.verify(token)
    assert refusal.value.status == 401
    assert refusal.value.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert harness.verifier.cached(token) is None


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
async def test_a_refusal_never_repeats_the_token(harness: VerifierHarness, attack: Callable[[], str]) -> None:
    token = attack()
    with pytest.raises(UnauthorizedError) as refusal:
        await harness.verifier.verify(token)
    said = f"{refusal.value} {refusal.value.detail} {refusal.value.headers}"
    assert all(part not in said for part in (token, *token.split(".")) if len(part) > 3)
