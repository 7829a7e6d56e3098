"""An attacker who has the current signing key and signs arbitrary tokens."""

import base64
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key
from pymongo import MongoClient

from tests.e2e.installation import Installation

ISSUER = "https://sandbox.tillstream.example"
NONCE_BYTES = 12
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True, slots=True)
class Forger:
    """Has the signing key and its id; `audience` is the API under attack."""

    key: rsa.RSAPrivateKey
    kid: str
    audience: str

    @classmethod
    def with_current_key(cls, installation: Installation, audience: str) -> "Forger":
        """Read the current signing key from this installation's database."""
        secrets = json.loads((installation.directory / "secrets.json").read_text())
        with MongoClient[dict[str, Any]](installation.endpoints["mongodb_uri"]) as mongo:
            keys = mongo["tillstream"]["auth_keys"].find({"signs_from": {"$lte": time.time()}})
            newest = max(keys, key=lambda key: key["_id"])
        cipher = AESGCM(base64.b64decode(secrets["AUTH_KEY_ENCRYPTION_KEY"]))
        wrapped = newest["wrapped_private_key"]
        der = cipher.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], newest["kid"].encode())
        key = load_der_private_key(der, None)
        assert isinstance(key, rsa.RSAPrivateKey)
        return cls(key, newest["kid"], audience)

    def claims(self, **changes: object) -> dict[str, object]:
        """Return the claims of a valid token of the demo client; a change to `...` removes a claim."""
        now = int(time.time())
        made = {
            "iss": ISSUER,
            "aud": self.audience,
            "sub": "5934de97c95e1ced",
            "client_id": "5934de97c95e1ced",
            "site": 608,
            "api_keys": ["12345"],
            "scope": "orders:write returns:write status:read",
            "iat": now,
            "exp": now + 28_800,
            "jti": base64.b32encode(str(time.monotonic_ns()).encode()).decode(),
            **changes,
        }
        return {name: value for name, value in made.items() if value is not ...}

    def token(
        self,
        *,
        header: Mapping[str, object] | None = None,
        payload: str | None = None,
        key: rsa.RSAPrivateKey | None = None,
        **changes: object,
    ) -> str:
        """Return a token with these headers and claims, signed like auth's."""
        headers = {"kid": self.kid, "typ": "at+jwt", **(header or {})}
        body = json.dumps(self.claims(**changes)) if payload is None else payload
        return jwt.api_jws.encode(body.encode(), key or self.key, "RS256", headers=headers)

    def unsigned(self) -> str:
        """Return a token with `alg: none` and an empty signature."""
        return f"{self._signing_input('none')}."

    def hs256_with_public_key(self) -> str:
        """Return an HS256 token signed with the public key as the secret."""
        public = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        signing_input = self._signing_input("HS256")
        return f"{signing_input}.{_b64(hmac.digest(public, signing_input.encode(), 'sha256'))}"

    def with_repeated_claims(self) -> str:
        """Return a token with two `site` claims: parsers differ in which one they use."""
        return self.token(payload=json.dumps(self.claims(site=609))[:-1] + ', "site": 608}')

    def _signing_input(self, algorithm: str) -> str:
        header = {"alg": algorithm, "typ": "at+jwt", "kid": self.kid}
        return f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps(self.claims()).encode())}"


def _b64(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def _own_jwk() -> dict[str, object]:
    made: dict[str, object] = jwt.algorithms.RSAAlgorithm.to_jwk(OTHER_KEY.public_key(), as_dict=True)
    return made


ATTACKS: dict[str, Callable[[Forger], str]] = {
    "alg none": Forger.unsigned,
    "HS256 keyed with the public key": Forger.hs256_with_public_key,
    "wrong kid": lambda forger: forger.token(header={"kid": "nobody-knows-it"}),
    "another key under the right kid": lambda forger: forger.token(key=OTHER_KEY),
    "header jku": lambda forger: forger.token(header={"jku": "http://127.0.0.1:1/keys"}, key=OTHER_KEY),
    "header x5u": lambda forger: forger.token(header={"x5u": "http://127.0.0.1:1/cert"}, key=OTHER_KEY),
    "header jwk": lambda forger: forger.token(header={"jwk": _own_jwk()}, key=OTHER_KEY),
    "header jku, signed rightly": lambda forger: forger.token(header={"jku": "http://127.0.0.1:1/keys"}),
    "no audience": lambda forger: forger.token(aud=...),
    "audience of another API": lambda forger: forger.token(aud="fulfilment"),
    "audience as a list": lambda forger: forger.token(aud=[forger.audience]),
    "one audience too many": lambda forger: forger.token(aud=[forger.audience, "fulfilment"]),
    "issuer of another environment": lambda forger: forger.token(iss="https://production.tillstream.example"),
    "expired": lambda forger: forger.token(iat=int(time.time()) - 28_900, exp=int(time.time()) - 100),
    "not yet valid": lambda forger: forger.token(iat=int(time.time()) + 100, exp=int(time.time()) + 1_000),
    "nbf to come": lambda forger: forger.token(nbf=int(time.time()) + 100),
    "lifetime of nine hours": lambda forger: forger.token(exp=int(time.time()) + 32_400),
    "no exp": lambda forger: forger.token(exp=...),
    "no jti": lambda forger: forger.token(jti=...),
    "typ JWT": lambda forger: forger.token(header={"typ": "JWT"}),
    "five kilobytes": lambda forger: forger.token(padding="x" * 3_500),
    "claims twice": Forger.with_repeated_claims,
}
