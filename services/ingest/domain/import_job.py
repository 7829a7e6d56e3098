"""An import request, and the job that it becomes."""

from collections.abc import Set as AbstractSet

from msgspec import Struct

from services.jobs.events import JobHeader
from services.sales.batch import Batch, ImportTarget, SiteDefaults


class ImportRequest(Struct, frozen=True, kw_only=True, gc=False):
    """An import request of an authenticated client, its body read and inflated."""

    client_id: str
    scopes: AbstractSet[str]
    target: ImportTarget
    site: SiteDefaults
    records_per_second: int
    body: bytes
    idempotency_key: str | None = None
    traceparent: str | None = None

    @property
    def is_ascii(self) -> bool:
        """Whether all texts of the records surely are ASCII: those of the body, and those that the request sets."""
        # An escape may stand for any character; one byte is found many times faster than two.
        return (
            self.body.isascii()
            and (b"\\" not in self.body or b"\\u" not in self.body)
            and (self.target.user_id or "").isascii()
            and (self.site.channel or "").isascii()
        )


class AcceptedJob(Struct, frozen=True, gc=False):
    """A job with the request's records, accepted and rejected ones; `is_ascii` if all their texts surely are ASCII."""

    header: JobHeader
    batch: Batch
    traceparent: str | None = None
    is_ascii: bool = False

    @property
    def summary(self) -> str:
        """The `message` of the response."""
        accepted, rejected = len(self.batch.accepted), len(self.batch.rejected)
        return f"Total records = {self.batch.total}. Success = {accepted}. Failed = {rejected}"
