"""What the transport itself reads."""

from msgspec import Struct, field

from tillstream.models.base import Model


class Problem(Struct, frozen=True, rename="camel"):
    """RFC 9457, as the APIs return it."""

    detail: str = ""
    code: str = ""
    request_id: str | None = None
    errors: list[dict[str, str]] = field(default_factory=list)


class Token(Struct, frozen=True):
    """The response of a token endpoint."""

    access_token: str
    expires_in: int


class Pagination(Model, frozen=True):
    """Where a page ends; the token of the next one is None at the end."""

    rows: int
    count: int
    next_page_token: str | None
