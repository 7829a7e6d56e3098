"""A request that was read, and the job that it became."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from services.jobs.events import JobHeader
from services.sales.batch import Batch, ImportTarget, SiteDefaults


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """One import request, once its sender is known and its body was read."""

    client_id: str
    scopes: AbstractSet[str]
    target: ImportTarget
    site: SiteDefaults
    records_per_second: int
    body: bytes
    idempotency_key: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class AcceptedJob:
    """A job and the records that the request gave it, good and refused."""

    header: JobHeader
    batch: Batch
    traceparent: str | None = None

    @property
    def summary(self) -> str:
        """The counts, as the documents print them."""
        good, refused = len(self.batch.accepted), len(self.batch.rejected)
        return f"Total records = {self.batch.total}. Success = {good}. Failed = {refused}"
