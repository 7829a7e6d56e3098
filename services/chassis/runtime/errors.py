"""Errors outside the domain.

    Exception
    ├── UnavailableError        a dependency does not answer, or its outcome is unknown: retry later
    │   └── ContentionError     concurrent changes of the same data got in the way: retry later
    ├── ChangedSettingError     a setting differs from the one that the stored data was written with: do not start
    └── Problem                 an error response: status, code, detail
        ├── UnauthorizedError   401
        └── ForbiddenError      403

Bad data inside the flows is a value, never one of these.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class UnavailableError(Exception):
    """A dependency is not reachable, or whether it did what was asked is unknown. Retrying is safe."""

    state = "unavailable"

    def __init__(self, dependency: str, *, retry_after_s: int = 2) -> None:
        super().__init__(f"{dependency} is {self.state}")
        self.dependency = dependency
        self.retry_after_s = retry_after_s


def copy_error(error: Exception) -> Exception:
    """Return an equal error for one of several callers that share an `UnavailableError`: a traceback belongs to one.

    Other errors are defects, and are returned as they are.
    """
    if not isinstance(error, UnavailableError):
        return error
    own = type(error).__new__(type(error), *error.args)
    own.__dict__.update(error.__dict__)
    # Its traceback may refer to frames that refer to the callers, and the cycle would keep what they sent.
    own.__cause__ = error.with_traceback(None)
    return own


class ContentionError(UnavailableError):
    """The dependency answers, but concurrent changes of the same data, or too much load, won every attempt."""

    state = "busy"


class StartingError(UnavailableError):
    """The service has not prepared its database yet: indexes may be missing, and keys are not checked."""

    state = "still starting"


class ChangedSettingError(Exception):
    """The value of a setting is not the one that the stored data was written with. Never retry."""

    def __init__(self, setting: str) -> None:
        super().__init__(f"{setting}: is not the value that the stored data was written with; restore the old value")
        self.setting = setting


@dataclass(frozen=True, slots=True)
class BodyFault:
    """One fault of a request body: JSON pointer, stable code and explanation."""

    pointer: str
    code: str
    detail: str


class Problem(Exception):  # noqa: N818 - the standard's own word (RFC 9457)
    """An error response, sent as `application/problem+json`.

    `code` is stable and UPPER_SNAKE; `detail` is for people and never echoes what was sent.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[BodyFault] = (),
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.errors = tuple(errors)
        self.extra = dict(extra or {})


class UnauthorizedError(Problem):
    """401: no token, or an invalid one. RFC 6750, 3.1: without a token the challenge names no error."""

    def __init__(self, detail: str, *, presented: bool = True) -> None:
        challenge = 'Bearer error="invalid_token"' if presented else "Bearer"
        super().__init__(401, "UNAUTHORIZED", detail, headers={"WWW-Authenticate": challenge})


class ForbiddenError(Problem):
    """403: a valid token without the right that the request needs."""

    def __init__(self, detail: str) -> None:
        super().__init__(403, "FORBIDDEN", detail, headers={"WWW-Authenticate": 'Bearer error="insufficient_scope"'})
