"""Keys, an issuer, a clock and tokens, for the tests of tokens."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import RSAAlgorithm

from services.chassis.security.jwks import Jwks
from services.chassis.security.tokens import TokenVerifier

NOW = 1_700_000_000
ISSUER = "https://test.tillstream.example"
AUDIENCE = "omnichannel-api"
CLAIMS = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "client-1",
    "site": 608,
    "api_keys": ["12345"],
    "scope": "orders:write returns:write",
    "iat": NOW,
    "exp": NOW + 28_800,
    "jti": "token-1",
}
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE_KEY = ec.generate_private_key(ec.SECP256R1())


def jwk(key: rsa.RSAPrivateKey, kid: str, **more: object) -> dict[str, Any]:
    return {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig", "alg": "RS256", **more}


def key_set(*keys: Mapping[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


@dataclass
class FakeIssuer:
    """The issuer's document, and how often it was fetched."""

    document: bytes | Exception = field(default_factory=lambda: key_set(jwk(KEY, "k1")))
    fetches: int = 0

    async def fetch(self) -> bytes:
        self.fetches += 1
        if isinstance(self.document, Exception):
            raise self.document
        return self.document


@dataclass
class Clock:
    at: float = NOW

    def __call__(self) -> float:
        return self.at


@dataclass
class VerifierHarness:
    issuer: FakeIssuer
    clock: Clock
    verifier: TokenVerifier
    revoked: set[str]
    revocations_loaded: list[bool]


def build_harness(algorithm: str = "RS256") -> VerifierHarness:
    issuer, clock, revoked, informed = FakeIssuer(), Clock(), set[str](), [True]
    verifier = TokenVerifier(
        Jwks("http://issuer.invalid/", algorithm, monotonic=clock, fetch=issuer.fetch),
        issuer=ISSUER,
        audience=AUDIENCE,
        is_revoked=lambda token: token.token_id in revoked,
        revocations_loaded=lambda: informed[0],
        now=clock,
    )
    return VerifierHarness(issuer, clock, verifier, revoked, informed)


@pytest.fixture
async def harness() -> VerifierHarness:
    made = build_harness()
    await made.verifier.keys.refresh()
    return made


def a_token(
    *,
    key: Any = KEY,
    algorithm: str = "RS256",
    without: str = "",
    header: Mapping[str, Any] | None = None,
    **claims: object,
) -> str:
    payload = {name: value for name, value in {**CLAIMS, **claims}.items() if name != without}
    return jwt.api_jws.encode(
        json.dumps(payload).encode(), key, algorithm, headers={"kid": "k1", "typ": "at+jwt", **(header or {})}
    )
