"""A request of somebody who is signed in."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

from services.portal.domain.session import Session
from services.portal.http.formats import Formats
from tillstream import AsyncClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Who asks for what: the session, the APIs with its tokens, and a form's fields if one was sent."""

    request: web.Request
    session: Session
    client: AsyncClient
    formats: Formats
    form_token: str
    form: Mapping[str, str] = field(default_factory=dict)

    @property
    def query(self) -> Mapping[str, str]:
        """The query; of a repeated parameter the first."""
        return self.request.query


class PageError(Exception):
    """A page cannot be shown; what the reader sees instead. `detail` says what to do."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        back: tuple[str, str] | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(title)
        self.status, self.title, self.detail, self.back = status, title, detail, back
        self.retry_after_s = retry_after_s


def not_found(what: str, *, back: tuple[str, str] | None = None) -> PageError:
    """Return the error of a thing that does not exist, or belongs to another site: nobody can tell which."""
    return PageError(404, f"No such {what}", "It does not exist, was deleted, or is not yours to see.", back=back)
