"""Answers to requests with an `Idempotency-Key`, kept in MongoDB. Without such a header nothing here is touched."""

from contextlib import suppress

from services.chassis.http.idempotency import HEADER, IdempotencyKeys, Reservation, StoredResponse, idempotency_key
from services.chassis.runtime.errors import UnavailableError
from services.ingest.domain.import_job import ImportRequest


class MongoIdempotencyStore:
    """The keys of the import API."""

    def __init__(self, keys: IdempotencyKeys) -> None:
        self._keys = keys
        self._is_prepared = False

    async def reserve(self, request: ImportRequest, job_id: str) -> Reservation | StoredResponse:
        """The first answer, or the right to make it; raises `Problem` for an unusable key, `Away` if nobody knows."""
        key = idempotency_key({HEADER: request.idempotency_key or ""}) or ""
        if not self._is_prepared:
            await self._keys.create_indexes()
            self._is_prepared = True
        return await self._keys.reserve(request.client_id, key, _content(request), lambda: job_id)

    async def complete(self, reservation: Reservation, response: StoredResponse) -> None:
        """Keep the answer. If that fails, a retry makes it again, with the same job."""
        with suppress(UnavailableError):
            await self._keys.complete(reservation, response)

    async def release_for_retry(self, reservation: Reservation) -> None:
        """Let a retry go on; if that fails, it may once the lease is over."""
        with suppress(UnavailableError):
            await self._keys.release_for_retry(reservation)

    async def discard(self, reservation: Reservation) -> None:
        """Free the key; if that fails, it is free once the lease is over."""
        with suppress(UnavailableError):
            await self._keys.discard(reservation)


def _content(submission: ImportRequest) -> bytes:
    """All that the answer depends on: one key stands for one request to one address."""
    path = submission.target
    address = "\n".join((path.kind, path.user_id or "", path.mode or "", submission.site.channel or ""))
    return address.encode() + b"\n" + submission.body
