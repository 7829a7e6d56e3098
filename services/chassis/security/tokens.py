"""Access tokens: read from the header, verified once, remembered until they expire.

A token is a JWT of RFC 9068 with one audience. Whatever is wrong with it, the caller gets `Unauthorized` with a reason
that does not repeat the token.
"""

import base64
import binascii
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from jwt import PyJWK, PyJWS
from jwt.exceptions import PyJWTError

from services.chassis.runtime import metrics
from services.chassis.runtime.errors import UnauthorizedError, UnavailableError
from services.chassis.security.jwks import Jwks

REFUSED = metrics.counter("tokens_refused_total", "Access tokens that were not accepted.", ("reason",))

MAX_TOKEN_LENGTH = 4096
LIFETIME_S = 28_800
LEEWAY_S = 60
MAX_CACHED_TOKENS = 10_000
HEADER = frozenset({"alg", "typ", "kid"})

_CREDENTIALS = re.compile(r"bearer[ \t]+(\S.*)", re.IGNORECASE | re.DOTALL)
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_QUOTES = "'\"`\u00b4\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u2032\u2033\u00ab\u00bb"
# The same quotes as a single byte of Windows-1252, which is how aiohttp shows bytes that are no UTF-8.
_QUOTE_BYTES = "\udc91\udc92\udc93\udc94\udc84\udc82\udcb4\udcab\udcbb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a verified token says. Times are seconds since the epoch."""

    client_id: str
    site: int
    api_keys: frozenset[str]
    scopes: frozenset[str]
    issued_at: float
    expires_at: float
    token_id: str


def bearer_token(header: str | None) -> str:
    """The token in an `Authorization` header; raises `Unauthorized`, with a hint where a quote stuck to the token."""
    credentials = (header or "").strip()
    if credentials[:6].lower() != "bearer":
        raise UnauthorizedError("A bearer token is required.", presented=False)
    match = _CREDENTIALS.fullmatch(credentials)
    if match is None:
        raise _refused("malformed", "The Authorization header holds no token after the word Bearer.")
    token = match[1]
    if _TOKEN.fullmatch(token):
        return token
    if token[-1] in _QUOTES + _QUOTE_BYTES or token[0] in _QUOTES + _QUOTE_BYTES:
        raise _refused("malformed", "A quotation mark is stuck to the token, as some documents print it: remove it.")
    raise _refused("malformed", "The token holds characters that no token has.")


class TokenVerifier:
    """Verifies the tokens of one audience.

    `is_revoked` is asked each time, for remembered tokens too. Until `is_informed` says that all is read by which
    callers are judged, no token is called good. Start it before use; `ready` tells whether the issuer's keys are there.
    One verifier belongs to one event loop.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        jwks_url: str,
        is_revoked: Callable[[Token], bool],
        revocations_loaded: Callable[[], bool] = lambda: True,
        algorithm: str = "RS256",
        refresh_s: float = 300.0,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        fetch: Callable[[], Awaitable[bytes]] | None = None,
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._algorithm = algorithm
        self._is_revoked = is_revoked
        self._is_informed = revocations_loaded
        self._now = now
        self._jws = PyJWS(algorithms=[algorithm])
        self._cached: dict[bytes, tuple[Token, str]] = {}
        self._keys = Jwks(jwks_url, algorithm, refresh_s=refresh_s, fetch=fetch, monotonic=monotonic)
        self._keys.on_change = self._evict_rotated

    async def start(self) -> None:
        """Begin to fetch the issuer's keys; returns at once."""
        await self._keys.start()

    async def stop(self) -> None:
        """Stop fetching keys."""
        await self._keys.stop()

    @property
    def ready(self) -> bool:
        """Whether there is any key to verify with."""
        return self._keys.ready

    async def refresh(self) -> bool:
        """Fetch the issuer's keys now; False when they could not be had."""
        return await self._keys.refresh()

    def cached(self, token: str) -> Token | None:
        """What a token says that was verified before and is still good; None says nothing about it."""
        # One digest and one look-up: this runs on every request.
        try:
            known = self._cached.get(sha256(token.encode()).digest())
        except UnicodeEncodeError:
            return None
        if known is None or known[0].expires_at <= self._now():
            return None
        if self._is_revoked(known[0]):
            return None
        return known[0]

    async def verify(self, token: str) -> Token:
        """What the token says; raises `Unauthorized`, or `Away` while nobody can tell."""
        known = self.cached(token)
        if known is not None:
            return known
        kid = _kid(token, self._algorithm)
        key = self._keys.get(kid) or await self._keys.fetch_missing_key(kid)
        if key is None:
            raise self._unknown_key()
        read = _read_claims(
            _signed_payload(token, key, self._jws, self._algorithm),
            issuer=self._issuer,
            audience=self._audience,
            now=self._now(),
        )
        if not self._is_informed():
            raise UnavailableError("Kafka")
        if self._is_revoked(read):
            raise _refused("revoked", "The token has been revoked.")
        self._cache(token, read, kid)
        return read

    def _unknown_key(self) -> Exception:
        if not self._keys.ready:
            return UnavailableError("the issuer of tokens")
        return _refused("unknown-key", "The token is signed with a key that is not in use.")

    def _cache(self, token: str, read: Token, kid: str) -> None:
        # The oldest entry goes first: one that is still in use comes back at the price of one verification.
        while len(self._cached) >= MAX_CACHED_TOKENS:
            del self._cached[next(iter(self._cached))]
        self._cached[sha256(token.encode()).digest()] = (read, kid)

    def _evict_rotated(self) -> None:
        """A key that the issuer no longer publishes vouches for nothing, remembered tokens included."""
        self._cached = {digest: known for digest, known in self._cached.items() if self._keys.get(known[1])}


def _refused(reason: str, detail: str) -> UnauthorizedError:
    REFUSED.labels(reason).inc()
    return UnauthorizedError(detail)


def _malformed() -> UnauthorizedError:
    return _refused("malformed", "The token is not a well-formed access token.")


def _kid(token: str, algorithm: str) -> str:
    """The key id that the header of a token names, once everything else about the header is in order."""
    if len(token) > MAX_TOKEN_LENGTH:
        raise _refused("too-long", f"The token is longer than {MAX_TOKEN_LENGTH} bytes.")
    parts = token.split(".")
    if len(parts) != 3:
        raise _malformed()
    header = _object(_decoded(parts[0]))
    # Anything else a header can hold (jku, jwk, x5u, x5c, crit, zip …) lets a stranger choose how he is believed.
    if header.keys() != HEADER or not isinstance(header["kid"], str):
        raise _refused("header", "The token's header does not hold exactly alg, typ and kid.")
    if header["alg"] != algorithm:
        raise _refused("algorithm", "The token is signed with another algorithm.")
    if not isinstance(header["typ"], str) or header["typ"].lower() not in {"at+jwt", "application/at+jwt"}:
        raise _refused("type", "The token is not an access token.")
    for part in parts[1:]:
        _decoded(part)
    return str(header["kid"])


def _signed_payload(token: str, key: PyJWK, jws: PyJWS, algorithm: str) -> bytes:
    try:
        payload: bytes = jws.decode(token, key, algorithms=[algorithm])
    except (PyJWTError, ValueError):
        raise _refused("signature", "The token's signature does not verify.") from None
    return payload


def _read_claims(payload: bytes, *, issuer: str, audience: str, now: float) -> Token:
    claims = _object(payload)
    if claims.get("iss") != issuer:
        raise _refused("issuer", "The token was issued for another environment.")
    if claims.get("aud") != audience:
        raise _refused("audience", "The token is for another API.")
    token = _token(claims)
    if not 0 < token.expires_at - token.issued_at <= LIFETIME_S:
        raise _refused("lifetime", "The token claims a lifetime that no token has.")
    if token.expires_at + LEEWAY_S <= now:
        raise _refused("expired", "The token has expired.")
    if max(token.issued_at, _not_before(claims)) - LEEWAY_S > now:
        raise _refused("not-yet-valid", "The token is not valid yet.")
    return token


def _token(claims: dict[str, Any]) -> Token:
    site, api_keys = claims.get("site"), claims.get("api_keys")
    texts = [claims.get(name) for name in ("sub", "scope", "jti")]
    times = [claims.get(name) for name in ("iat", "exp")]
    if (
        not all(isinstance(text, str) and text for text in texts)
        or not all(type(instant) is int for instant in (*times, site))
        or not isinstance(api_keys, list)
        or not all(isinstance(key, str) and key for key in api_keys)
    ):
        raise _refused("claims", "The token lacks a claim that every token has.")
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


def _decoded(part: str) -> bytes:
    """The bytes of one part; other spellings of the same bytes are not taken, so a token has one form."""
    try:
        decoded = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        if base64.urlsafe_b64encode(decoded).rstrip(b"=") != part.encode("ascii"):
            raise _malformed()
    except (binascii.Error, ValueError):
        raise _malformed() from None
    return decoded


def _object(text: bytes) -> dict[str, Any]:
    try:
        read = json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError):
        raise _malformed() from None
    if not isinstance(read, dict):
        raise _malformed()
    return read


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise ValueError("a name is repeated")
    return read
