"""What the portal's flows need from stores and APIs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date
from pathlib import Path
from typing import Any, Protocol

from services.portal.domain.administration import ClientView, KeyView
from services.portal.domain.api_requests import ApiRequest
from services.portal.domain.api_responses import ApiResponse
from services.portal.domain.file_import import Ended, FaultGroup, FileImport, ImportProgress, ReadOptions, Wish
from services.portal.domain.kafka_records import RecordText, SchemaText
from services.portal.domain.mending import Draft, DraftState, JobLink
from services.portal.domain.openapi import ApiDocument
from services.portal.domain.operations import EntryView
from services.portal.domain.session import Grant, Session
from services.portal.domain.upload import Upload
from tillstream import ItemPage
from tillstream.http import Credentials
from tillstream.models import (
    Accepted,
    Delivery,
    Endpoint,
    FeedPage,
    Job,
    Kind,
    Limits,
    Mode,
    Outcome,
    RecordResult,
    Validated,
)
from tillstream.sources.inspection import Inspection


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


class AuditTrail(Protocol):
    """Sign-ins and disclosures, for operators. Details hold no code, secret or personal data.

    Every call raises `UnavailableError`.
    """

    async def record(self, action: str, *, actor: str, source: str, **details: object) -> None:
        """Add an entry."""

    async def count(self, action: str, *, actor: str, source: str, **details: object) -> None:
        """Count an action in the one entry that all equal ones of a minute have."""

    async def entries(self, *, before: str, limit: int) -> Sequence[EntryView]:
        """Return entries, newest first, optionally only those before an entry's id."""


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

    async def limits(self, *, validate_only: bool = False) -> Limits:
        """Return the site's limits, and what is left of them; or those of checks."""


class RecordSender(Protocol):
    """The import API, for a few records (`tillstream.AsyncClient.imports`); raises its errors."""

    async def validate(
        self, records: Sequence[Mapping[str, Any]], *, kind: Kind = "orders", mode: Mode | None = None
    ) -> Validated:
        """Return what importing the records would come to."""

    async def send(
        self,
        records: Sequence[Mapping[str, Any]],
        *,
        kind: Kind = "orders",
        mode: Mode | None = None,
        idempotency_key: str | None = None,
    ) -> Accepted:
        """Import the records."""


class UploadStore(Protocol):
    """Uploaded files and their pieces, until they expire."""

    async def add(self, upload: Upload, *, quota_bytes: int) -> int | None:
        """Store a new upload; return the bytes of the site's others instead if both do not fit into the quota."""

    async def find(self, site: int, upload_id: str) -> Upload | None:
        """Return an upload of the site that has not expired."""

    async def of_site(self, site: int) -> Sequence[Upload]:
        """Return the site's uploads, newest first."""

    async def received(self, upload_id: str) -> int:
        """Return how many bytes have been received, all of them from the beginning."""

    async def append(self, upload: Upload, offset: int, piece: bytes) -> bool:
        """Store a piece at the end; return False if another one was stored there at the same time."""

    async def complete(self, upload: Upload, *, size: int) -> None:
        """Mark the upload as complete."""

    async def set_digest(self, upload: Upload, sha256: str) -> None:
        """Store the file's digest."""

    async def set_options(self, upload: Upload, options: ReadOptions) -> None:
        """Store how the file is to be read."""

    def pieces(self, upload: Upload) -> AsyncIterator[bytes]:
        """Yield the file's content from the beginning."""

    async def delete(self, site: int, upload_id: str) -> None:
        """Delete an upload."""


class ImportStore(Protocol):
    """Checks and imports, and the leases on them."""

    async def add(self, run: FileImport) -> bool:
        """Store a new one; return False if there is one with this id."""

    async def reopen(self, run: FileImport) -> None:
        """Let one that was cancelled or has failed go on where it was, with the upload of `run`."""

    async def find(self, site: int, import_id: str) -> FileImport | None:
        """Return one of the site."""

    async def of_site(self, site: int, *, limit: int) -> Sequence[FileImport]:
        """Return the site's, newest first."""

    async def of_upload(self, site: int, upload_id: str) -> Sequence[FileImport]:
        """Return those of an upload, newest first."""

    async def mending(self, site: int, import_id: str) -> Sequence[FileImport]:
        """Return those whose file holds failed records of this one, mended."""

    async def wish(self, site: int, import_id: str, wish: Wish) -> FileImport | None:
        """Pause, resume or cancel one of the site, if its state allows; return what it is then."""

    async def claim(self, owner: str, *, lease_us: int, max_per_site: int) -> FileImport | None:
        """Lease one that waits, or whose worker has died."""

    async def heartbeat(self, run: FileImport, *, lease_us: int) -> FileImport | None:
        """Renew the lease and store the progress; return what it is now, None if another worker has it."""

    async def count_running(self, site: int) -> int:
        """Return how many of the site are running."""

    async def settle(self, run: FileImport) -> None:
        """Store how it has ended or why it waits, and give up the lease. What its owner wished meanwhile is heeded."""


class BatchLog(Protocol):
    """What became of a file's records, batch by batch; deleted with its import."""

    async def fault_groups(self, import_id: str, *, limit: int) -> Sequence[FaultGroup]:
        """Return the kinds of faults, the most frequent first."""

    async def jobs(self, import_id: str, *, limit: int) -> Sequence[tuple[str, int]]:
        """Return the first jobs with failed records, and how many these are."""


class CredentialStore(Protocol):
    """Credentials of imports that go on after their owner has signed out. They are encrypted, and expire."""

    async def put(self, run: FileImport, credentials: Credentials, *, expires_us: int) -> None:
        """Store the credentials, in place of earlier ones."""

    async def get(self, run: FileImport) -> Credentials | None:
        """Return the credentials; None if they are deleted."""

    async def delete(self, run: FileImport) -> None:
        """Delete the credentials."""


class Transfer(Protocol):
    """An import that runs in a thread."""

    progress: ImportProgress

    @property
    def ended(self) -> "asyncio.Future[Ended]":
        """Done when it has ended."""

    def stop(self) -> None:
        """Send nothing more."""

    def set_share(self, share: float) -> None:
        """Use another part of the site's limit."""


class Runner(Protocol):
    """Starts imports."""

    def start(
        self,
        run: FileImport,
        path: Path,
        credentials: Credentials,
        *,
        share: float,
        on_job: Callable[[str], Coroutine[Any, Any, None]] | None,
    ) -> Transfer:
        """Begin or go on with an import."""


class FileReader(Protocol):
    """Reads uploaded files."""

    async def inspect(self, upload: Upload, options: ReadOptions) -> Inspection:
        """Return what a file seems to be; raises `SourceError` if it cannot be read."""

    def failed_records(self, run: FileImport, upload: Upload, suffix: str) -> AbstractAsyncContextManager[Path]:
        """Yield a file with the failed records of an import and their errors; raises `SourceError`."""


class FileOpener(Protocol):
    """Puts uploaded files where they can be read."""

    def open(self, upload: Upload) -> AbstractAsyncContextManager[Path]:
        """Yield the path of an upload."""

    async def digest(self, upload: Upload) -> str:
        """Return the SHA-256 of a complete upload."""


class ColumnMemory(Protocol):
    """Which columns a site has chosen for which fields."""

    async def load(self, site: int, kind: str) -> Mapping[str, str]:
        """Return the field of each known heading, in its normalised form."""

    async def save(self, site: int, kind: str, fields: Mapping[str, str]) -> None:
        """Add what was chosen."""


class DraftStore(Protocol):
    """Records that are being mended, until they are sent or expire."""

    async def load(self, site: int, job: str, indexes: Collection[int] | None = None) -> Sequence[Draft]:
        """Return the drafts of a job, of these records or of all, in the order of the records."""

    async def count(self, site: int, job: str, state: DraftState) -> int:
        """Return how many drafts of a job are in this state."""

    async def save(self, site: int, job: str, drafts: Sequence[Draft]) -> None:
        """Store drafts in place of earlier ones of the same records."""


class LinkStore(Protocol):
    """Which job mends which."""

    async def add(self, site: int, link: JobLink) -> None:
        """Store a link; a second time it changes nothing."""

    async def mended_by(self, site: int, job: str) -> Sequence[JobLink]:
        """Return the jobs that mend this one, oldest first."""

    async def mends(self, site: int, job: str) -> JobLink | None:
        """Return the job that this one mends."""


class ApiDocuments(Protocol):
    """The OpenAPI documents."""

    async def get(self, name: str) -> ApiDocument:
        """Return a document. Raises `UnavailableError`."""


class ApiCaller(Protocol):
    """Sends requests that readers have composed."""

    async def call(self, document: str, request: ApiRequest, session: Session, *, has_token: bool) -> ApiResponse:
        """Send a request once. Raises `UnavailableError`, and `NotAllowedError` if the client gets no token."""


class Registry(Protocol):
    """The schema registry. Every call raises `UnavailableError`."""

    async def schema(self, subject: str) -> SchemaText | None:
        """Return the latest schema of a subject; None if there is no such subject."""

    async def decode(self, value: bytes, header: bytes | None) -> RecordText | str:
        """Return a record as JSON, or a sentence why it cannot be decoded."""


class EventsApi(Protocol):
    """The events API with the token of who is signed in (`tillstream.AsyncClient.events`); raises its errors."""

    async def page(self, *, after: str | None = None, types: Sequence[str] = (), rows: int | None = None) -> FeedPage:
        """Return a page of the feed."""

    async def endpoints(self) -> Sequence[Endpoint]:
        """Return all endpoints."""

    async def endpoint(self, endpoint_id: str) -> Endpoint:
        """Return an endpoint."""

    async def deliveries_page(
        self, endpoint_id: str, *, rows: int | None = None, page_token: str | None = None
    ) -> ItemPage[Delivery]:
        """Return a page of deliveries, newest first."""


class Administration(Protocol):
    """Auth's admin API with the token of an operator; raises the errors of the client library."""

    async def sites(self) -> Sequence[Mapping[str, Any]]:
        """Return all sites, by number."""

    async def site(self, number: str) -> Mapping[str, Any]:
        """Return one site."""

    async def put_site(self, number: str, site: Mapping[str, Any]) -> None:
        """Add or replace a site."""

    async def clients(self) -> Sequence[ClientView]:
        """Return all clients, by id."""

    async def client(self, client_id: str) -> ClientView:
        """Return one client."""

    async def add_client(self, client: Mapping[str, Any]) -> str:
        """Add a client and return its secret. Raises `OutcomeUnknownError` if the secret was lost on the way."""

    async def change_client(self, client_id: str, change: Mapping[str, Any]) -> None:
        """Change a client's API keys and scopes."""

    async def add_secret(self, client_id: str, *, grace_hours: int | None) -> str:
        """Return a further secret. Raises `OutcomeUnknownError` if it was lost on the way."""

    async def remove_secret(self, client_id: str, secret_id: str) -> None:
        """Remove a secret at once."""

    async def revoke_client(self, client_id: str) -> None:
        """Revoke all tokens that were issued to a client."""

    async def revoke_token(self, token_id: str) -> None:
        """Revoke one token."""

    async def keys(self) -> Sequence[KeyView]:
        """Return the signing keys, by number."""

    async def add_key(self) -> None:
        """Add the next signing key."""
