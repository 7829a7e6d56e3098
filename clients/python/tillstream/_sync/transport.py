"""Sends requests: tokens per API, retries, timeouts, typed errors."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar
from uuid import uuid4

import httpx2
import msgspec

from tillstream._sync.runtime import Http, Lock, sleep
from tillstream.errors import OutcomeUnknownError, TillstreamError, UnreachableError
from tillstream.http import (
    RENEW_BEFORE_S,
    USER_AGENT,
    Api,
    Credentials,
    ItemPage,
    Page,
    RetryPolicy,
    api_error,
    decode,
    is_retried,
    token_error,
)
from tillstream.models import Token

T = TypeVar("T")
_UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)


@dataclass(frozen=True, slots=True)
class Response:
    """A response that is no error, with its whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Connections to one installation with the credentials of one client.

    `throttled` counts responses with 429; `last_failure` is what a request is repeated after, until one succeeds.
    """

    def __init__(self, base_url: str, credentials: Credentials, retry: RetryPolicy, http: Http | None) -> None:
        self.base_url = base_url
        self.credentials = credentials
        self.retry = retry
        self.throttled = 0
        self.last_failure: TillstreamError | None = None
        self._http = http or Http(
            base_url=base_url.rstrip("/"),
            timeout=httpx2.Timeout(retry.timeout_s, connect=10.0),
            limits=httpx2.Limits(max_connections=32, max_keepalive_connections=16),
            headers={"User-Agent": USER_AGENT},
        )
        self._tokens: dict[str, tuple[str, float]] = {}
        self._token_lock = Lock()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def request(
        self,
        api: Api,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        is_repeatable: bool = True,
        done_status: int | None = None,
    ) -> Response:
        """Send a request until it is answered, and return the response.

        Busy and unavailable servers and lost connections are retried within the retry policy, a POST with the same
        `Idempotency-Key` each time. Raises `ApiError` and `UnreachableError`.

        What is not repeatable does something each time that it is sent, whatever its key: it is retried only if it was
        certainly not carried out. Then it raises `OutcomeUnknownError` after a lost connection.

        `done_status` is what a request is answered with that was carried out before: an error, unless an earlier
        attempt may have been carried out.
        """
        sent = dict(headers or {})
        if method == "POST":
            sent.setdefault("Idempotency-Key", uuid4().hex)
        deadline = monotonic() + self.retry.max_wait_s
        attempt, has_renewed, may_be_done = 0, False, False
        while True:
            failure: TillstreamError
            retry_after_s = None
            authorization = {"Authorization": f"Bearer {self._token(api, deadline)}"}
            try:
                response = self._send(
                    method, api.base + path, params=_without_none(params), content=content, headers=sent | authorization
                )
            except UnreachableError as error:
                if error.was_sent and not is_repeatable:
                    raise OutcomeUnknownError(f"{error}; the request may have been carried out") from error
                failure = error
                may_be_done |= error.was_sent
            else:
                if response.status < 400 or (may_be_done and response.status == done_status):
                    self.last_failure = None
                    return response
                failure = api_error(response.status, response.headers, response.body)
                if response.status == 401 and not has_renewed:
                    # Revoked, or issued by keys that are gone.
                    has_renewed = True
                    self._tokens.pop(api.name, None)
                    continue
                # Of all that is retried, only the limit says for certain that nothing was done.
                may_repeat = is_repeatable or failure.status == 429
                if not may_repeat or not is_retried(failure.status, failure.code):
                    raise failure
                retry_after_s = failure.retry_after_s
                may_be_done |= failure.status >= 500
            self._pause(failure, attempt, retry_after_s, deadline)
            attempt += 1

    def stream(
        self, api: Api, path: str, *, params: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[bytes]:
        """Yield the body of a GET piece by piece, as it arrives.

        The request is retried until it is answered. A connection that is lost after the first piece raises
        `UnreachableError`: what has arrived is not the whole.
        """
        deadline = monotonic() + self.retry.max_wait_s
        attempt, has_renewed, has_begun = 0, False, False
        while True:
            failure: TillstreamError
            retry_after_s = None
            sent = {**(headers or {}), "Authorization": f"Bearer {self._token(api, deadline)}"}
            try:
                with self._http.stream("GET", api.base + path, params=_without_none(params), headers=sent) as response:
                    if response.status_code < 400:
                        for piece in response.iter_bytes():
                            has_begun = True
                            yield piece
                        return
                    refusal = api_error(response.status_code, response.headers, response.read())
            except httpx2.TransportError as error:
                failure = self._unreachable(error)
                if has_begun:
                    raise failure from error
            else:
                failure = refusal
                if refusal.status == 401 and not has_renewed:
                    has_renewed = True
                    self._tokens.pop(api.name, None)
                    continue
                if refusal.status == 429:
                    self.throttled += 1
                if not is_retried(refusal.status, refusal.code):
                    raise refusal
                retry_after_s = refusal.retry_after_s
            self._pause(failure, attempt, retry_after_s, deadline)
            attempt += 1

    def get(self, api: Api, path: str, type_: type[T], **params: Any) -> T:
        """Return the model that a GET answers with."""
        return decode((self.request(api, "GET", path, params=params)).body, type_)

    def page(self, api: Api, path: str, type_: type[T], *, page_token: str | None = None, **params: Any) -> ItemPage[T]:
        """Return one page of a list: the first one, or that of a page token."""
        page = self.get(api, path, Page, **params, page=page_token)
        following = page.pagination.next_page_token if page.pagination is not None else None
        return ItemPage([decode(bytes(item), type_) for item in page.result], following)

    def pages(self, api: Api, path: str, type_: type[T], **params: Any) -> Iterator[T]:
        """Yield the items of all pages."""
        token: str | None = None
        while True:
            page = self.page(api, path, type_, page_token=token, **params)
            for item in page.items:
                yield item
            if page.next_page_token is None or not page.items:
                return
            token = page.next_page_token

    def access_token(self, api: Api) -> str:
        """Return a token for an API, for a request that this library has no method for; it is not yet expired.

        Raises `NotAllowedError` if the credentials are wrong (401) or may not use the API (400, 403).
        """
        return self._token(api, monotonic() + self.retry.max_wait_s)

    def _token(self, api: Api, deadline: float) -> str:
        """Return a token of the API's audience, fetched at most once at a time and renewed before it expires."""
        with self._token_lock:
            known = self._tokens.get(api.name)
            if known is not None and monotonic() < known[1]:
                return known[0]
            token = self._fetch_token(api, deadline)
            self._tokens[api.name] = (token.access_token, monotonic() + token.expires_in - RENEW_BEFORE_S)
            return token.access_token

    def _fetch_token(self, api: Api, deadline: float) -> Token:
        # The body, not the URL: URLs end up in logs.
        form = msgspec.structs.asdict(
            _TokenForm("client_credentials", self.credentials.client_id, self.credentials.client_secret)
        )
        attempt = 0
        while True:
            failure: TillstreamError
            retry_after_s = None
            try:
                response = self._send("POST", api.token_path, data=form)
            except UnreachableError as error:
                failure = error
            else:
                if response.status == 200:
                    return decode(response.body, Token)
                failure = api_error(response.status, response.headers, response.body)
                if not is_retried(failure.status, failure.code):
                    raise token_error(failure)
                retry_after_s = failure.retry_after_s
            self._pause(failure, attempt, retry_after_s, deadline)
            attempt += 1

    def _send(self, method: str, path: str, **options: Any) -> Response:
        try:
            response = self._http.request(method, path, **options)
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        if response.status_code == 429:
            self.throttled += 1
        return Response(response.status_code, response.headers, response.content)

    def _unreachable(self, error: httpx2.TransportError) -> UnreachableError:
        # The text of the error may hold addresses, never what was sent.
        message = f"cannot reach {self._http.base_url}: {error or type(error).__name__}"
        return UnreachableError(message, was_sent=not isinstance(error, _UNSENT))

    def _pause(self, failure: TillstreamError, attempt: int, retry_after_s: float | None, deadline: float) -> None:
        """Wait before the next attempt; raise the failure if it would come too late."""
        wait = self.retry.backoff_s(attempt, retry_after_s)
        if monotonic() + wait > deadline:
            raise failure
        self.last_failure = failure
        sleep(wait)


class _TokenForm(msgspec.Struct):
    grant_type: str
    client_id: str
    client_secret: str


def _without_none(params: Mapping[str, Any] | None) -> dict[str, str]:
    return {name: str(value) for name, value in (params or {}).items() if value is not None}
