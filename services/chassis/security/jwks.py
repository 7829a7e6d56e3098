"""The issuer's public keys: fetched over HTTP, kept while the issuer is away."""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping

import aiohttp
from jwt import PyJWK, PyJWKError
from jwt.exceptions import PyJWTError

from services.chassis.runtime import logs, metrics

log = logs.logger(__name__)

FETCHES = metrics.counter("jwks_fetches_total", "Fetches of the issuer's signing keys.", ("outcome",))
FETCHED_AT = metrics.gauge("jwks_fetched_timestamp_seconds", "When the signing keys were last fetched, Unix time.")

RETRY_S = 1.0
MIN_LOOKUP_INTERVAL_S = 30.0
FETCH_TIMEOUT_S = 5.0
MAX_JWKS_BYTES = 256 * 1024
MIN_RSA_BITS = 2048
KEY_TYPE = {"RS256": "RSA", "ES256": "EC"}


class InvalidJwksError(ValueError):
    """The issuer answered, but not with keys."""


def parse_jwks(document: bytes, algorithm: str) -> dict[str, PyJWK]:
    """The keys of a JWKS document that may verify `algorithm`, by key id; raises `Unusable` when there is none.

    Keys of other kinds, for other uses, without an id, too small, or holding private parts are passed over.
    """
    try:
        listed = json.loads(document)["keys"]
        found = {key["kid"]: _key(key, algorithm) for key in listed if _suits(key, algorithm)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InvalidJwksError("not a key set") from None
    kept = {kid: key for kid, key in found.items() if key is not None}
    if not kept:
        raise InvalidJwksError("no usable key")
    return kept


def _suits(key: Mapping[str, object], algorithm: str) -> bool:
    return (
        isinstance(key.get("kid"), str)
        and key.get("kty") == KEY_TYPE[algorithm]
        and key.get("alg", algorithm) == algorithm
        and key.get("use", "sig") == "sig"
        and "d" not in key
    )


def _key(key: dict[str, object], algorithm: str) -> PyJWK | None:
    try:
        read = PyJWK(key, algorithm)
    except (PyJWKError, PyJWTError, ValueError):
        return None
    bits: int = read.key.key_size
    return read if algorithm != "RS256" or bits >= MIN_RSA_BITS else None


class Jwks:
    """Public keys by id, refreshed in the background from `start()` to `stop()`.

    `fetch` returns the document's bytes and raises what it likes; by default it is an HTTP GET of `url`, each
    `refresh_s` seconds.
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
        self._algorithm = algorithm
        self._refresh_s = refresh_s
        self._fetch = fetch or self._get
        self._monotonic = monotonic
        self._keys: dict[str, PyJWK] = {}
        self._session: aiohttp.ClientSession | None = None
        self._follower: asyncio.Task[None] | None = None
        self._looking = asyncio.Lock()
        self._looked_at: float | None = None
        self._failure: str | None = None
        self.on_change: Callable[[], None] = lambda: None

    @property
    def ready(self) -> bool:
        """Whether there is any key to verify with."""
        return bool(self._keys)

    def get(self, kid: str) -> PyJWK | None:
        """The key of this id, if it is known."""
        return self._keys.get(kid)

    async def fetch_missing_key(self, kid: str) -> PyJWK | None:
        """The key of this id; where it is unknown the issuer is asked again, at most once in 30 s."""
        async with self._looking:
            if kid not in self._keys and self._may_fetch():
                self._looked_at = self._monotonic()
                await self.refresh()
            return self._keys.get(kid)

    def _may_fetch(self) -> bool:
        return self._looked_at is None or self._monotonic() - self._looked_at >= MIN_LOOKUP_INTERVAL_S

    async def start(self) -> None:
        """Begin to fetch; returns at once, `ready` tells when there are keys."""
        self._follower = asyncio.create_task(self._refresh_periodically(), name="jwks")

    async def stop(self) -> None:
        """Stop fetching."""
        if self._follower is not None:
            self._follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._follower
        if self._session is not None:
            await self._session.close()

    async def refresh(self) -> bool:
        """Fetch once. What was known stays known when the issuer is away or answers nonsense."""
        try:
            keys = parse_jwks(await self._fetch(), self._algorithm)
        except (aiohttp.ClientError, TimeoutError, OSError, InvalidJwksError) as error:
            FETCHES.labels("failed").inc()
            self._note_failure(type(error).__name__)
            return False
        self._failure = None
        changed = keys.keys() != self._keys.keys()
        self._keys = keys
        FETCHES.labels("fetched").inc()
        FETCHED_AT.set_to_current_time()
        if changed:
            log.info("signing keys fetched", keys=sorted(keys))
            self.on_change()
        return True

    def _note_failure(self, reason: str) -> None:
        """An outage is worth a line, not one each second."""
        if reason != self._failure:
            log.warning("signing keys not fetched", url=self._url, reason=reason, known=len(self._keys))
        self._failure = reason

    async def _refresh_periodically(self) -> None:
        while True:
            fetched = await self.refresh()
            await asyncio.sleep(self._refresh_s if fetched else RETRY_S)

    async def _get(self) -> bytes:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)
            self._session = aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        async with self._session.get(self._url, allow_redirects=False) as answer:
            if answer.status != 200:
                raise InvalidJwksError(f"status {answer.status}")
            document = await answer.content.read(MAX_JWKS_BYTES + 1)
            while len(document) <= MAX_JWKS_BYTES and (more := await answer.content.read(MAX_JWKS_BYTES + 1)):
                document += more
        if len(document) > MAX_JWKS_BYTES:
            raise InvalidJwksError("too long")
        return document
