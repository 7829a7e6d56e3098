"""What the portal's flows need from stores and APIs."""

from collections.abc import AsyncIterator
from datetime import date
from typing import Protocol

from services.portal.domain.session import Grant, Session
from tillstream import ItemPage
from tillstream.models import Job, Kind, Limits, Mode, Outcome, RecordResult


class SessionStore(Protocol):
    """Where sessions are kept. Every call raises `UnavailableError`."""

    async def add(self, session: Session) -> None:
        """Store a new session."""

    async def find(self, session_id: str) -> Session | None:
        """Return a session, also one that has expired but is not deleted yet."""

    async def touch(self, session_id: str, *, seen_us: int) -> None:
        """Store when the session was last used; does nothing if it has ended."""

    async def delete(self, session_id: str) -> bool:
        """Delete a session; return whether there was one."""


class Authority(Protocol):
    """Who says what a client may do."""

    async def inspect(self, client_id: str, client_secret: str) -> Grant | None:
        """Return what the client may do; None if id or secret is wrong. Raises `UnavailableError`."""


class JobsApi(Protocol):
    """The status API with the token of who is signed in (`tillstream.AsyncClient.jobs`); raises its errors."""

    async def get(self, job_id: str) -> Job:
        """Return a job."""

    async def list_page(
        self,
        *,
        state: str | None = None,
        kind: Kind | None = None,
        mode: Mode | None = None,
        since: date | None = None,
        until: date | None = None,
        rows: int | None = None,
        page_token: str | None = None,
    ) -> ItemPage[Job]:
        """Return a page of jobs, newest first."""

    def records(self, job_id: str, *, outcome: Outcome, rows: int | None = None) -> AsyncIterator[RecordResult]:
        """Yield records."""

    async def records_page(
        self,
        job_id: str,
        *,
        outcome: Outcome,
        rows: int | None = None,
        page_token: str | None = None,
    ) -> ItemPage[RecordResult]:
        """Return a page of records."""


class ImportsApi(Protocol):
    """The import API."""

    async def limits(self) -> Limits:
        """Return the site's limits, and what is left of them."""
