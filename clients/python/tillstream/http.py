"""What both clients know about HTTP: targets, retries and responses."""

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Generic, TypeVar
from uuid import UUID

import msgspec

from tillstream.errors import (
    ApiError,
    BodyFault,
    NotAllowedError,
    TillstreamError,
    UnexpectedResponseError,
    error_class,
)
from tillstream.models import Pagination, Problem, RecordResult

T = TypeVar("T")
VERSION = "0.1.0"
USER_AGENT = f"tillstream-client/{VERSION}"
RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
IN_PROGRESS = "IDEMPOTENCY_IN_PROGRESS"
MAX_BACKOFF_S = 20.0
# A token is renewed this long before it expires.
RENEW_BEFORE_S = 60.0
# How late the status API may learn of a job.
MAX_LAG_S = 300.0
# 1970 in the time of UUIDs: tenths of microseconds since 1582.
_UUID_EPOCH = 0x01B21DD213814000
_PROBLEM = msgspec.json.Decoder(Problem)


@dataclass(frozen=True, slots=True)
class Api:
    """One of Tillstream's APIs: its base path; the token endpoint is below it."""

    name: str
    base: str

    @property
    def token_path(self) -> str:
        """Path of the token endpoint."""
        return f"{self.base}/oauth2/token"


IMPORT = Api("import", "/omnichannel/api/v1")
STATUS = Api("status", "/common-status/v1")
FULFILMENT = Api("fulfilment", "/fulfilment/v1")
LEDGER = Api("ledger", "/ledger/v1")
EVENTS = Api("events", "/events/v1")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who calls. The secret is not in the `repr`."""

    client_id: str
    client_secret: str = field(repr=False)
    api_key: str


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to go on when the server is busy, unavailable or not there. `max_wait_s` is for one request in all."""

    max_wait_s: float = 60.0
    timeout_s: float = 30.0

    def backoff_s(self, attempt: int, retry_after_s: float | None) -> float:
        """Return how long to wait before the next attempt; jitter keeps many clients apart."""
        backoff = min(0.2 * 2 ** min(attempt, 10), MAX_BACKOFF_S)
        waited = random.uniform(backoff / 2, backoff)  # noqa: S311 - no secret
        return waited if retry_after_s is None else retry_after_s + random.uniform(0, 0.1)  # noqa: S311 - as above


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the wait that the server asked for, in seconds or as a date."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(float(value), 0.0)
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(value).timestamp()
    except (TypeError, ValueError):
        return None
    now = server_time_s(headers)
    return max(until - (time.time() if now is None else now), 0.0)


def server_time_s(headers: Mapping[str, str]) -> float | None:
    """Return when the server answered, on its own clock; None if it did not say."""
    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (TypeError, ValueError):
        return None


def is_retried(status: int, code: str) -> bool:
    """Return whether the same request may succeed soon."""
    return status in RETRIED_STATUSES or (status == 409 and code == IN_PROGRESS)


def job_age_s(job_id: str, error: ApiError) -> float | None:
    """Return how long before the error a job was made, by the time in its id; None if there is none in it.

    Both times are the server's, if it said what time it was: the local clock may be hours off.
    """
    try:
        made = UUID(job_id)
    except ValueError:
        return None
    now = time.time() if error.server_time_s is None else error.server_time_s
    return now - (made.time - _UUID_EPOCH) / 1e7 if made.version == 1 else None


def is_young(job_id: str, error: ApiError) -> bool:
    """Return whether a job was made a short time before the error: the status API may not know it yet."""
    age_s = job_age_s(job_id, error)
    return age_s is not None and abs(age_s) < MAX_LAG_S


def api_error(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """Return the error that a response means."""
    try:
        problem = _PROBLEM.decode(body)
    except msgspec.MsgspecError:
        problem = Problem()
    if not problem.code:
        problem = _oauth_problem(body)
    request_id = problem.request_id or headers.get("x-request-id")
    return error_class(status)(
        problem.detail or f"the server answered with status {status}",
        status=status,
        code=problem.code or f"HTTP_{status}",
        request_id=request_id,
        faults=[
            BodyFault(fault.get("pointer", ""), fault.get("code", ""), fault.get("detail", ""))
            for fault in problem.errors
        ],
        retry_after_s=retry_after_s(headers),
        server_time_s=server_time_s(headers),
    )


def token_error(error: ApiError) -> TillstreamError:
    """Return what a refused token request means; it says nothing of the request that the token is for."""
    if error.status not in {400, 401, 403}:
        return UnexpectedResponseError(f"no token was issued: {error}")
    return NotAllowedError(error.detail, status=error.status, code=error.code, request_id=error.request_id)


def _oauth_problem(body: bytes) -> Problem:
    """Token endpoints answer errors of RFC 6749."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, str])
    except msgspec.MsgspecError:
        return Problem()
    code = fields.get("error", "")
    return Problem(detail=fields.get("error_description", code), code=code.upper())


# A record that was refused may have any shape; its amounts are exact as well.
_RECORDS = msgspec.json.Decoder(RecordResult, float_hook=Decimal)


def decode(body: bytes, type_: type[T]) -> T:
    """Return the response as a model; amounts stay exact."""
    try:
        if type_ is RecordResult:
            return _RECORDS.decode(body)  # type: ignore[return-value]
        return msgspec.json.decode(body, type=type_)
    except msgspec.MsgspecError as error:
        raise UnexpectedResponseError(f"the response is not a {type_.__name__}: {error}") from error


class Page(msgspec.Struct, frozen=True):
    """One page of a list; its items are decoded one by one."""

    result: list[msgspec.Raw]
    pagination: Pagination | None = None


@dataclass(frozen=True, slots=True)
class ItemPage(Generic[T]):
    """One page of a list, for those who page themselves: the token continues behind it, None at the end.

    Of a job that has not ended, the last page has a token, too: it continues with what is decided later.
    """

    items: list[T]
    next_page_token: str | None
