"""What the library raises.

TillstreamError
├── UnreachableError        no response: the connection failed, or timed out, until the retries were used up
│   └── OutcomeUnknownError lost connection of a request that must not be sent twice: it was not repeated
├── NotFinishedError        what was waited for had not ended in time
├── UnexpectedResponseError the response is not what the API documents
└── ApiError                the API refused the request
    ├── NotAllowedError     401, 403: credentials, scopes or API key
    ├── NotFoundError       404
    ├── InvalidRequestError 400, 405, 413, 415, 422: the request must change
    ├── ConflictError       409
    ├── RateLimitedError    429, until the retries were used up
    └── UnavailableError    5xx, 408, until the retries were used up
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BodyFault:
    """What is wrong with a part of the request's body; `pointer` is a JSON pointer, empty for the whole body."""

    pointer: str
    code: str
    detail: str


class TillstreamError(Exception):
    """Base class of all errors of this library."""


class UnreachableError(TillstreamError):
    """No response came; whether the request was carried out is unknown, unless it was not even sent."""

    def __init__(self, message: str, *, was_sent: bool = True) -> None:
        super().__init__(message)
        self.was_sent = was_sent


class OutcomeUnknownError(UnreachableError):
    """The connection was lost, and the request may have been carried out: look before you send it again."""


class NotFinishedError(TillstreamError):
    """A job or an order had not ended when the caller's time was up; nothing is lost, wait again."""


class UnexpectedResponseError(TillstreamError):
    """The response is not one that the API documents, for example that of a proxy."""


class ApiError(TillstreamError):
    """The API refused the request.

    `code` is stable (`INVALID_MODE`), `request_id` is in the logs of the server, `faults` locate what is wrong in the
    request's body, `retry_after_s` is how long to wait, if the server said it. `server_time_s` is when it answered, on
    its own clock, in seconds since 1970.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int,
        code: str,
        request_id: str | None = None,
        faults: Sequence[BodyFault] = (),
        retry_after_s: float | None = None,
        server_time_s: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.code = code
        self.request_id = request_id
        self.faults = tuple(faults)
        self.retry_after_s = retry_after_s
        self.server_time_s = server_time_s

    def __str__(self) -> str:
        """The problem in one line: status, code, detail, faults, request id."""
        places = "".join(f"; {fault.pointer}: {fault.detail}" for fault in self.faults if fault.pointer)
        request = f" (request {self.request_id})" if self.request_id else ""
        return f"{self.status} {self.code}: {self.detail}{places}{request}"


class NotAllowedError(ApiError):
    """The credentials are wrong, or may not do this, or not for this API key."""


class NotFoundError(ApiError):
    """There is no such thing, or it belongs to another site."""


class InvalidRequestError(ApiError):
    """The request as a whole cannot be accepted as it is."""


class ConflictError(ApiError):
    """The request contradicts an earlier one."""


class RateLimitedError(ApiError):
    """The limit stayed exceeded through all retries."""


class UnavailableError(ApiError):
    """The server, or what it depends on, stayed unavailable through all retries.

    A request that must not be carried out twice is not retried: it may have been carried out.
    """


def error_class(status: int) -> type[ApiError]:
    """Return the class of the error that a status means."""
    if status >= 500 or status == 408:
        return UnavailableError
    known: dict[int, type[ApiError]] = {
        401: NotAllowedError,
        403: NotAllowedError,
        404: NotFoundError,
        409: ConflictError,
        429: RateLimitedError,
    }
    return known.get(status, InvalidRequestError)
