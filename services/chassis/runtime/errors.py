"""What can go wrong outside the domain.

    Exception
    ├── Away            what is needed does not answer, or its answer is unknown: try again later
    └── Problem         the caller is told, once: status, code, detail
        ├── Unauthorized    401
        └── Forbidden       403

Bad data inside the flows is a value, never one of these.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class UnavailableError(Exception):
    """A dependency is not reachable, or whether it did what was asked is unknown. Asking again is safe."""

    def __init__(self, dependency: str, *, retry_after_s: int = 2) -> None:
        super().__init__(f"{dependency} is away")
        self.dependency = dependency
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class BodyFault:
    """One fault of a request's body: where (JSON pointer), which (stable code), and why in words."""

    pointer: str
    code: str
    detail: str


class Problem(Exception):  # noqa: N818 - the standard's own word (RFC 9457)
    """A refusal, answered as `application/problem+json`.

    `code` is stable and UPPER_SNAKE; `detail` is for a human and never echoes what was sent.
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
    """401: no token, or one that proves nothing. `presented` tells whether there was one at all (RFC 6750, 3.1)."""

    def __init__(self, detail: str, *, presented: bool = True) -> None:
        challenge = 'Bearer error="invalid_token"' if presented else "Bearer"
        super().__init__(401, "UNAUTHORIZED", detail, headers={"WWW-Authenticate": challenge})


class ForbiddenError(Problem):
    """403: a good token that does not reach this far."""

    def __init__(self, detail: str) -> None:
        super().__init__(403, "FORBIDDEN", detail, headers={"WWW-Authenticate": 'Bearer error="insufficient_scope"'})
