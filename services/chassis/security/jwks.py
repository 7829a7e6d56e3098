"""The issuer's public keys: fetched over HTTP, kept while the issuer is unavailable."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping

import aiohttp
from jwt import PyJWK, PyJWKError
from jwt.exceptions import PyJWTError

from services.chassis.runtime import metrics
from services.chassis.runtime.background import BackgroundTask
from services.chassis.runtime.logs import logger

FETCHES = metrics.counter("jwks_fetches_total", "Fetches of the issuer's signing keys.", ("outcome",))
FETCHED_AT = metrics.gauge("jwks_fetched_timestamp_seconds", "When the signing keys were last fetched, Unix time.")

RETRY_S = 1.0
MIN_LOOKUP_INTERVAL_S = 30.0
FETCH_TIMEOUT_S = 5.0
MAX_JWKS_BYTES = 256 * 1024
MIN_RSA_BITS = 2048
KEY_TYPE = {"RS256": "RSA", "ES256": "EC"}
_LOG = logger(__name__)


class InvalidJwksError(ValueError):
    """The issuer's response holds no usable keys."""


def parse_jwks(document: bytes, algorithm: str) -> dict[str, PyJWK]:
    """Return the keys of a JWKS document that may verify `algorithm`, by key id; raises `InvalidJwksError` without any.

    Keys of other types, for other uses, without an id, too small or holding private parts are skipped.
    """
    try:
        keys = json.loads(document)["keys"]
        parsed = {key["kid"]: _parse_key(key, algorithm) for key in keys if _is_candidate(key, algorithm)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InvalidJwksError("not a key set") from None
    usable = {kid: key for kid, key in parsed.items() if key is not None}
    if not usable:
        raise InvalidJwksError("no usable key")
    return usable


def _is_candidate(key: Mapping[str, object], algorithm: str) -> bool:
    return (
        isinstance(key.get("kid"), str)
        and key.get("kty") == KEY_TYPE[algorithm]
        and key.get("alg", algorithm) == algorithm
        and key.get("use", "sig") == "sig"
        and "d" not in key
    )


def _parse_key(key: dict[str, object], algorithm: str) -> PyJWK | None:
    try:
        parsed = PyJWK(key, algorithm)
    except (PyJWKError, PyJWTError, ValueError):
        return None
    bits: int = parsed.key.key_size
    return parsed if algorithm != "RS256" or bits >= MIN_RSA_BITS else None


class Jwks:
    """Public keys by id, refreshed in the background from `start()` to `stop()`.

    `fetch` returns the document's bytes and may raise anything; the default is an HTTP GET of `url`.
    """

    def __init__(
        self,
        url: str,
        algorithm: str,
        *,
        refresh_s: float = 300.0,
        fetch: Callable[[], Awaitable[bytes]] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self.algorithm = algorithm
        self._refresh_s = refresh_s
        self._fetch = fetch or self._get
        self._monotonic = monotonic
        self._keys: dict[str, PyJWK] = {}
        self._session: aiohttp.ClientSession | None = None
        self._refreshing = BackgroundTask("jwks", self._refresh_and_pause)
        self._lookup_lock = asyncio.Lock()
        self._last_lookup_at: float | None = None
        self._failure: str | None = None

    @property
    def ready(self) -> bool:
        """Whether there is any key to verify with."""
        return bool(self._keys)

    def get(self, kid: str) -> PyJWK | None:
        """Return a known key."""
        return self._keys.get(kid)

    async def fetch_missing_key(self, kid: str) -> PyJWK | None:
        """Return a key; for an unknown one the keys are fetched again, at most once in 30 s."""
        async with self._lookup_lock:
            if kid not in self._keys and self._may_fetch():
                self._last_lookup_at = self._monotonic()
                await self.refresh()
            return self._keys.get(kid)

    def _may_fetch(self) -> bool:
        return self._last_lookup_at is None or self._monotonic() - self._last_lookup_at >= MIN_LOOKUP_INTERVAL_S

    async def start(self) -> None:
        """Start to fetch in the background."""
        await self._refreshing.start()

    async def stop(self) -> None:
        """Stop fetching and close the connection."""
        await self._refreshing.stop()
        if self._session is not None:
            await self._session.close()

    async def refresh(self) -> bool:
        """Fetch the keys once; return False and keep the known ones if that fails."""
        try:
            keys = parse_jwks(await self._fetch(), self.algorithm)
        except (aiohttp.ClientError, TimeoutError, OSError, InvalidJwksError) as error:
            FETCHES.labels("failed").inc()
            self._log_failure(type(error).__name__)
            return False
        self._failure = None
        if keys.keys() != self._keys.keys():
            _LOG.info("signing keys fetched", keys=sorted(keys))
        self._keys = keys
        FETCHES.labels("fetched").inc()
        FETCHED_AT.set_to_current_time()
        return True

    async def _refresh_and_pause(self) -> float:
        return self._refresh_s if await self.refresh() else RETRY_S

    def _log_failure(self, reason: str) -> None:
        """Log an outage once, not at each retry."""
        if reason != self._failure:
            _LOG.warning("signing keys not fetched", url=self._url, reason=reason, known=len(self._keys))
        self._failure = reason

    async def _get(self) -> bytes:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)
            self._session = aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        async with self._session.get(self._url, allow_redirects=False) as response:
            if response.status != 200:
                raise InvalidJwksError(f"status {response.status}")
            document = await response.content.read(MAX_JWKS_BYTES + 1)
            while len(document) <= MAX_JWKS_BYTES and (chunk := await response.content.read(MAX_JWKS_BYTES + 1)):
                document += chunk
        if len(document) > MAX_JWKS_BYTES:
            raise InvalidJwksError("too long")
        return document
