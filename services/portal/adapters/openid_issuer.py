"""An OpenID Connect issuer over HTTP: discovery, the token endpoint, and its keys."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn
from urllib.parse import quote_plus

import aiohttp
import msgspec
from aiohttp import hdrs
from jwt import PyJWK, PyJWS
from jwt.exceptions import PyJWTError

from services.chassis.http.rate_limit import RateLimit
from services.chassis.runtime.logs import logger
from services.chassis.security.jwks import InvalidJwksError, parse_jwks
from services.portal.domain.openid import (
    ALGORITHMS,
    InvalidCodeError,
    InvalidIdTokenError,
    InvalidMetadataError,
    IssuerError,
    Metadata,
    check_metadata,
)

DISCOVERY = "/.well-known/openid-configuration"
TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 256 * 1024
MAX_TOKEN_CHARACTERS = 16 * 1024
# Documents are fetched again after this time, so that a key that the issuer has withdrawn is not trusted for longer.
FRESH_S = 300.0
# An issuer may change its keys at any time: how often an unknown one is looked for in any minute.
MAX_LOOKUPS = 5
LOOKUP_WINDOW_S = 60.0
# While the issuer is away, sign-ins are answered at once instead of one after another.
RETRY_S = 2.0
UNUSABLE = "the OpenID Connect issuer cannot be used"
_LOG = logger(__name__)

Keys = Mapping[tuple[str, str], PyJWK]


class _Cached:
    """A document of the issuer, fetched when it is needed."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.lock = asyncio.Lock()
        self._monotonic = monotonic
        self.value: Any = None
        self._fetched_at = self._failed_at = float("-inf")

    @property
    def age_s(self) -> float:
        return self._monotonic() - self._fetched_at

    @property
    def has_just_failed(self) -> bool:
        return self._monotonic() - self._failed_at < RETRY_S

    def store(self, value: Any) -> None:
        self.value, self._fetched_at = value, self._monotonic()

    def fail(self) -> None:
        self._failed_at = self._monotonic()


class HttpIssuer:
    """The `Issuer` over HTTP: no redirect is followed, and answers are bounded in time and size."""

    def __init__(
        self, issuer: str, client_id: str, client_secret: str, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._issuer, self._client_id, self._client_secret = issuer, client_id, client_secret
        self._metadata, self._keys = _Cached(monotonic), _Cached(monotonic)
        self._session: aiohttp.ClientSession | None = None
        self._lookups = RateLimit(window_s=LOOKUP_WINDOW_S, clock=monotonic)
        self._jws = PyJWS(algorithms=list(ALGORITHMS))

    async def start(self) -> None:
        """Do nothing: the portal also starts while the issuer is away."""

    async def stop(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def metadata(self) -> Metadata:
        cached = self._metadata
        async with cached.lock:
            if cached.age_s >= FRESH_S:
                await self._refresh(cached, self._fetch_metadata)
            metadata: Metadata = cached.value
            return metadata

    async def _refresh(self, cached: _Cached, fetch: Callable[[], Any]) -> None:
        if cached.has_just_failed:
            raise IssuerError("it did not answer a moment ago")
        try:
            cached.store(await fetch())
        except IssuerError as error:
            cached.fail()
            self._report(error)
            raise

    async def _fetch_metadata(self) -> Metadata:
        status, body = await self._request("GET", self._issuer.rstrip("/") + DISCOVERY)
        try:
            metadata = msgspec.json.decode(body, type=Metadata)
            check_metadata(metadata, self._issuer)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise IssuerError(f"no discovery document, but status {status}") from None
        except InvalidMetadataError as error:
            raise IssuerError(str(error)) from None
        return metadata

    async def redeem(self, code: str, *, verifier: str, redirect_uri: str) -> str:
        metadata = await self.metadata()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        try:
            return await self._request_id_token(metadata, form)
        except IssuerError as error:
            self._report(error)
            raise

    async def _request_id_token(self, metadata: Metadata, form: dict[str, str]) -> str:
        headers, form = self._authenticate(metadata, form)
        status, body = await self._request("POST", metadata.token_endpoint, data=form, headers=headers)
        answer = _parse_object(body) or {}
        if status != 200:
            _raise_refused(status, answer.get("error"))
        id_token = answer.get("id_token")
        if not isinstance(id_token, str):
            raise IssuerError("its token endpoint answers without an ID token")
        return id_token

    def _authenticate(self, metadata: Metadata, form: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        """Return headers and form with the portal's credentials (RFC 6749, 2.3.1)."""
        if not self._client_secret:
            return {}, form | {"client_id": self._client_id}
        methods = metadata.token_endpoint_auth_methods_supported
        if "client_secret_basic" not in methods and "client_secret_post" in methods:
            return {}, form | {"client_id": self._client_id, "client_secret": self._client_secret}
        credentials = aiohttp.encode_basic_auth(quote_plus(self._client_id), quote_plus(self._client_secret))
        return {hdrs.AUTHORIZATION: credentials}, form

    def _report(self, error: IssuerError) -> None:
        _LOG.warning(UNUSABLE, issuer=self._issuer, reason=str(error))

    async def verify(self, id_token: str) -> Mapping[str, Any]:
        algorithm, kid = self._parse_header(id_token)
        key = await self._key(algorithm, kid)
        if key is None:
            raise InvalidIdTokenError("an unknown key")
        try:
            payload: bytes = self._jws.decode(id_token, key, algorithms=[algorithm])
        except (PyJWTError, ValueError):
            raise InvalidIdTokenError("an invalid signature") from None
        claims = _parse_object(payload)
        if claims is None:
            raise InvalidIdTokenError("not a JSON object")
        return claims

    def _parse_header(self, id_token: str) -> tuple[str, str | None]:
        if len(id_token) > MAX_TOKEN_CHARACTERS:
            raise InvalidIdTokenError("too long")
        try:
            header = self._jws.get_unverified_header(id_token)
        except (PyJWTError, ValueError):
            raise InvalidIdTokenError("not a signed token") from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS:
            raise InvalidIdTokenError("another algorithm")
        return algorithm, kid

    async def _key(self, algorithm: str, kid: str | None) -> PyJWK | None:
        cached = self._keys
        async with cached.lock:
            if cached.age_s >= FRESH_S or (_select(cached.value, algorithm, kid) is None and self._may_look_up()):
                await self._refresh(cached, self._fetch_keys)
            return _select(cached.value, algorithm, kid)

    def _may_look_up(self) -> bool:
        return self._lookups.acquire("keys", limit=MAX_LOOKUPS).allowed

    async def _fetch_keys(self) -> Keys:
        _, body = await self._request("GET", (await self.metadata()).jwks_uri)
        body = _with_key_id(body)
        keys: dict[tuple[str, str], PyJWK] = {}
        for algorithm in ALGORITHMS:
            try:
                keys |= {(algorithm, kid): key for kid, key in parse_jwks(body, algorithm).items()}
            except InvalidJwksError:
                continue
        if not keys:
            raise IssuerError("it has no usable key")
        return keys

    async def _request(self, method: str, url: str, **options: Any) -> tuple[int, bytes]:
        """Return status and body of a response; raises `IssuerError`."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
            # Not compressed: a small answer could unpack to a large one.
            headers = {hdrs.ACCEPT: "application/json", hdrs.ACCEPT_ENCODING: "identity"}
            self._session = aiohttp.ClientSession(
                timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), headers=headers, auto_decompress=False
            )
        try:
            async with self._session.request(method, url, allow_redirects=False, **options) as response:
                body = await _read_bounded(response)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise IssuerError(f"it does not answer: {type(error).__name__}") from None
        if response.status >= 500 or 300 <= response.status < 400 or (method == "GET" and response.status != 200):
            raise IssuerError(f"it answers with status {response.status}")
        return response.status, body


def _raise_refused(status: int, error: object) -> NoReturn:
    if error == "invalid_grant":
        raise InvalidCodeError
    # Others are not logged: a text of the issuer may quote what was sent.
    known = error if error in ("invalid_client", "invalid_request", "unauthorized_client") else "no known error"
    raise IssuerError(f"its token endpoint answers with status {status}, {known}")


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise IssuerError("its answer is too long")
    return bytes(body)


def _parse_object(body: bytes) -> Mapping[str, Any] | None:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _with_key_id(body: bytes) -> bytes:
    """Return a key set in which the only key has an id: it needs none (OpenID Connect Core, 10.1)."""
    match _parse_object(body):
        case {"keys": [dict(key)]}:
            return json.dumps({"keys": [{"kid": "", **key}]}).encode()
    return body


def _select(keys: Keys, algorithm: str, kid: str | None) -> PyJWK | None:
    """Return the key of a token. Without an id in the token, that is the only key, or none."""
    if kid is not None:
        return keys.get((algorithm, kid))
    return next((key for (fits, _), key in keys.items() if fits == algorithm), None) if len(keys) == 1 else None
