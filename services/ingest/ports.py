"""What accepting needs from the world."""

from typing import Protocol

from services.chassis.http.idempotency import Reservation, StoredResponse
from services.chassis.http.ratelimit import Decision
from services.ingest.domain.import_job import AcceptedJob, ImportRequest


class Publisher(Protocol):
    """Puts accepted requests on record."""

    async def publish(self, job: AcceptedJob) -> None:
        """Return when all in-sync replicas have the job and every accepted record; raise `Away` otherwise."""
        ...


class RateLimiter(Protocol):
    """Counts records against a site's limit."""

    async def acquire(self, key: str, *, limit: int, cost: int = 1) -> Decision:
        """Spend `cost` records if the last second can pay them; a cost of 0 asks whether anything is left."""
        ...


class IdempotencyStore(Protocol):
    """Remembers the answers to requests that carry an `Idempotency-Key`."""

    async def reserve(self, request: ImportRequest, job_id: str) -> Reservation | StoredResponse:
        """The first answer, or the right to make it, with `job_id` or the id that an earlier attempt reserved.

        Raises `Problem` for a key that cannot be used (now), `Away` if nobody knows.
        """
        ...

    async def complete(self, reservation: Reservation, response: StoredResponse) -> None:
        """Keep the answer, if that can be done."""
        ...

    async def release_for_retry(self, reservation: Reservation) -> None:
        """The outcome is unknown: a retry may go on at once, with the same job."""
        ...

    async def discard(self, reservation: Reservation) -> None:
        """The request was refused: the key is free again."""
        ...
