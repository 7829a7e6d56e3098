"""Access tokens: parsed from the header, verified once, cached until they expire.

A token is a JWT of RFC 9068 with one audience. An invalid one raises `UnauthorizedError`, whose detail never quotes it.
"""

import base64
import binascii
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from jwt import PyJWK, PyJWS
from jwt.exceptions import PyJWTError

from services.chassis.runtime import metrics
from services.chassis.runtime.errors import UnauthorizedError, UnavailableError
from services.chassis.security.jwks import Jwks

REFUSED = metrics.counter("tokens_refused_total", "Rejected access tokens.", ("reason",))

MAX_TOKEN_LENGTH = 4096
LIFETIME_S = 28_800
LEEWAY_S = 60
MAX_CACHED_TOKENS = 10_000
HEADER = frozenset({"alg", "typ", "kid"})

_CREDENTIALS = re.compile(r"bearer[ \t]+(\S.*)", re.IGNORECASE | re.DOTALL)
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_QUOTES = "'\"`\u00b4\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u2032\u2033\u00ab\u00bb"
# The same quotes as single bytes of Windows-1252, in the form in which aiohttp decodes invalid UTF-8.
_QUOTE_BYTES = "\udc91\udc92\udc93\udc94\udc84\udc82\udcb4\udcab\udcbb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """The claims of a verified token. Times are seconds since the epoch."""

    client_id: str
    site: int
    api_keys: frozenset[str]
    scopes: frozenset[str]
    issued_at: float
    expires_at: float
    token_id: str


def bearer_token(header: str | None) -> str:
    """Return the token of an `Authorization` header; raises `UnauthorizedError`, with a hint about stray quotes."""
    credentials = (header or "").strip()
    if credentials[:6].lower() != "bearer":
        raise UnauthorizedError("a bearer token is required", presented=False)
    match = _CREDENTIALS.fullmatch(credentials)
    if match is None:
        raise _refused("malformed", "the Authorization header has no token after Bearer")
    token = match[1]
    if _TOKEN.fullmatch(token):
        return token
    if token[-1] in _QUOTES + _QUOTE_BYTES or token[0] in _QUOTES + _QUOTE_BYTES:
        raise _refused("malformed", "the token is surrounded by quotation marks: remove them")
    raise _refused("malformed", "the token contains invalid characters")


class TokenVerifier:
    """Verifies the tokens of one audience with the issuer's `keys`, which must be started.

    `is_revoked` is called each time, for cached tokens too. Until `revocations_loaded` is True, no token is accepted.
    """

    def __init__(
        self,
        keys: Jwks,
        *,
        issuer: str,
        audience: str,
        is_revoked: Callable[[Token], bool],
        revocations_loaded: Callable[[], bool] = lambda: True,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.keys = keys
        self._issuer = issuer
        self._audience = audience
        self._is_revoked = is_revoked
        self._revocations_loaded = revocations_loaded
        self._now = now
        self._jws = PyJWS(algorithms=[keys.algorithm])
        self._cached: dict[bytes, tuple[Token, str]] = {}

    def cached(self, token: str) -> Token | None:
        """Return a token that was verified before and is still valid; None if it must be verified."""
        # One digest and two lookups: this runs on every request.
        try:
            entry = self._cached.get(sha256(token.encode()).digest())
        except UnicodeEncodeError:
            return None
        if entry is None:
            return None
        verified, kid = entry
        is_valid = verified.expires_at > self._now() and self.keys.get(kid) is not None
        return verified if is_valid and not self._is_revoked(verified) else None

    async def verify(self, token: str) -> Token:
        """Return the verified token; raises `UnauthorizedError`, or `UnavailableError` while it cannot be verified."""
        cached = self.cached(token)
        if cached is not None:
            return cached
        kid = _parse_kid(token, self.keys.algorithm)
        key = self.keys.get(kid) or await self.keys.fetch_missing_key(kid)
        if key is None:
            raise self._unknown_key()
        verified = _parse_claims(
            _verify_signature(token, key, self._jws, self.keys.algorithm),
            issuer=self._issuer,
            audience=self._audience,
            now=self._now(),
        )
        if not self._revocations_loaded():
            raise UnavailableError("Kafka")
        if self._is_revoked(verified):
            raise _refused("revoked", "the token has been revoked")
        self._cache(token, verified, kid)
        return verified

    def _unknown_key(self) -> Exception:
        if not self.keys.ready:
            return UnavailableError("the issuer of tokens")
        return _refused("unknown-key", "the token is signed with an unknown key")

    def _cache(self, token: str, verified: Token, kid: str) -> None:
        # The oldest entry is evicted first; if it is still in use, that costs one verification.
        while len(self._cached) >= MAX_CACHED_TOKENS:
            del self._cached[next(iter(self._cached))]
        self._cached[sha256(token.encode()).digest()] = (verified, kid)


def _refused(reason: str, detail: str) -> UnauthorizedError:
    REFUSED.labels(reason).inc()
    return UnauthorizedError(detail)


def _malformed() -> UnauthorizedError:
    return _refused("malformed", "the token is not a well-formed access token")


def _parse_kid(token: str, algorithm: str) -> str:
    """Return the key id of the token's header, after checking the rest of the header."""
    if len(token) > MAX_TOKEN_LENGTH:
        raise _refused("too-long", f"the token is longer than {MAX_TOKEN_LENGTH} bytes")
    parts = token.split(".")
    if len(parts) != 3:
        raise _malformed()
    header = _parse_object(_decode_part(parts[0]))
    # Any other header (jku, jwk, x5u, x5c, crit, zip …) would let the sender choose how the token is verified.
    if header.keys() != HEADER or not isinstance(header["kid"], str):
        raise _refused("header", "the token's header must have exactly alg, typ and kid")
    if header["alg"] != algorithm:
        raise _refused("algorithm", "the token is signed with another algorithm")
    if not isinstance(header["typ"], str) or header["typ"].lower() not in {"at+jwt", "application/at+jwt"}:
        raise _refused("type", "the token is not an access token")
    for part in parts[1:]:
        _decode_part(part)
    return str(header["kid"])


def _verify_signature(token: str, key: PyJWK, jws: PyJWS, algorithm: str) -> bytes:
    try:
        payload: bytes = jws.decode(token, key, algorithms=[algorithm])
    except (PyJWTError, ValueError):
        raise _refused("signature", "the token's signature is invalid") from None
    return payload


def _parse_claims(payload: bytes, *, issuer: str, audience: str, now: float) -> Token:
    claims = _parse_object(payload)
    if claims.get("iss") != issuer:
        raise _refused("issuer", "the token was issued for another environment")
    if claims.get("aud") != audience:
        raise _refused("audience", "the token is for another API")
    token = _parse_token(claims)
    if not 0 < token.expires_at - token.issued_at <= LIFETIME_S:
        raise _refused("lifetime", f"the token's lifetime must be positive and at most {LIFETIME_S // 3600} hours")
    if token.expires_at + LEEWAY_S <= now:
        raise _refused("expired", "the token has expired")
    if max(token.issued_at, _not_before(claims)) - LEEWAY_S > now:
        raise _refused("not-yet-valid", "the token is not valid yet")
    return token


def _parse_token(claims: dict[str, Any]) -> Token:
    site, api_keys = claims.get("site"), claims.get("api_keys")
    strings = [claims.get(name) for name in ("sub", "scope", "jti")]
    times = [claims.get(name) for name in ("iat", "exp")]
    if (
        not all(isinstance(string, str) and string for string in strings)
        or not all(type(number) is int for number in (*times, site))
        or not isinstance(api_keys, list)
        or not all(isinstance(key, str) and key for key in api_keys)
    ):
        raise _refused("claims", "the token lacks a required claim")
    return Token(
        client_id=claims["sub"],
        site=claims["site"],
        api_keys=frozenset(api_keys),
        scopes=frozenset(claims["scope"].split(" ")),
        issued_at=claims["iat"],
        expires_at=claims["exp"],
        token_id=claims["jti"],
    )


def _not_before(claims: dict[str, Any]) -> int:
    instant = claims.get("nbf", 0)
    if type(instant) is not int:
        raise _malformed()
    return instant


def _decode_part(part: str) -> bytes:
    """Decode one part; non-canonical encodings are rejected, so that a token has one form."""
    try:
        decoded = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        if base64.urlsafe_b64encode(decoded).rstrip(b"=") != part.encode("ascii"):
            raise _malformed()
    except (binascii.Error, ValueError):
        raise _malformed() from None
    return decoded


def _parse_object(text: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(text, object_pairs_hook=_reject_duplicates)
    except (ValueError, RecursionError):
        raise _malformed() from None
    if not isinstance(parsed, dict):
        raise _malformed()
    return parsed


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate name")
    return members
