"""Ports of ingest."""

from collections.abc import Callable
from typing import Protocol

from services.chassis.http.idempotency import Reservation, StoredResponse
from services.chassis.http.rate_limit import Decision
from services.ingest.domain.import_job import AcceptedJob, ImportRequest
from services.sales.dry_run import VerdictResponse


class Publisher(Protocol):
    """Publishes accepted jobs."""

    async def publish(self, job: AcceptedJob) -> None:
        """Return when all in-sync replicas have the job and its accepted records; raises `UnavailableError`."""

    @property
    def can_publish_nowait(self) -> bool:
        """Whether `publish_nowait` can be called now: the brokers have been asked for all that it needs."""

    def publish_nowait(self, job: AcceptedJob, on_settled: Callable[[Exception | None], None]) -> None:
        """Publish a job of one accepted record; call `on_settled` when `publish` would return or raise."""


class Judge(Protocol):
    """Judges records as they would be judged if they were imported now."""

    async def judge(self, job: AcceptedJob) -> VerdictResponse:
        """Return the verdict on each accepted record of a job that is never published; raises `UnavailableError`."""


class RateLimiter(Protocol):
    """Limits the records per second of each site."""

    async def acquire(self, key: str, *, limit: int, cost: int = 1) -> Decision:
        """Charge `cost` units if the last second has room for them."""

    async def peek(self, key: str, *, limit: int) -> Decision:
        """Decide as `acquire` would for one unit; charge nothing."""

    def has_quota_nowait(self, key: str, *, limit: int) -> bool:
        """Whether `acquire_nowait` would charge one unit now."""

    def acquire_nowait(self, key: str, *, limit: int) -> Decision | None:
        """Charge one unit as `acquire` does; None, without any effect, if it refuses or would have to wait."""


class IdempotencyStore(Protocol):
    """Stores the responses to requests with an `Idempotency-Key`. Only `reserve` raises `UnavailableError`."""

    async def reserve(self, request: ImportRequest, job_id: str) -> Reservation | StoredResponse:
        """Reserve the request's key, or return the response stored under it.

        The reservation carries `job_id`, or the id that an earlier attempt reserved. Raises `Problem` for a key that is
        invalid, in use by a running request or bound to another request.
        """

    async def complete(self, reservation: Reservation, response: StoredResponse) -> None:
        """Store the response, if possible."""

    async def release_for_retry(self, reservation: Reservation) -> None:
        """Allow a retry with the same job id at once: the outcome of this attempt is unknown."""

    async def discard(self, reservation: Reservation) -> None:
        """Free the key: the request was refused."""
