"""Responses to requests with an `Idempotency-Key`, stored in MongoDB. Requests without one never touch it."""

from contextlib import suppress

from services.chassis.http.idempotency import HEADER, IdempotencyKeys, Reservation, StoredResponse, idempotency_key
from services.chassis.runtime.errors import UnavailableError
from services.ingest.domain.import_job import ImportRequest


class MongoIdempotencyStore:
    """Idempotency keys of the import API."""

    def __init__(self, keys: IdempotencyKeys) -> None:
        self._keys = keys

    async def reserve(self, request: ImportRequest, job_id: str) -> Reservation | StoredResponse:
        """Reserve the request's key, or return the response stored under it.

        Raises `Problem` for an invalid, conflicting or reserved key, `UnavailableError` if MongoDB does not respond.
        """
        key = idempotency_key({HEADER: request.idempotency_key or ""}) or ""
        return await self._keys.reserve(request.client_id, key, _fingerprint(request), lambda: job_id)

    async def complete(self, reservation: Reservation, response: StoredResponse) -> None:
        """Store the response. If that fails, a retry publishes the same job again and builds the same response."""
        with suppress(UnavailableError):
            await self._keys.complete(reservation, response)

    async def release_for_retry(self, reservation: Reservation) -> None:
        """Allow a retry at once; if that fails, it is allowed when the lease expires."""
        with suppress(UnavailableError):
            await self._keys.release_for_retry(reservation)

    async def discard(self, reservation: Reservation) -> None:
        """Free the key; if that fails, it is free when the lease expires."""
        with suppress(UnavailableError):
            await self._keys.discard(reservation)


def _fingerprint(request: ImportRequest) -> bytes:
    """Everything that the response depends on: a key is bound to one body sent to one address."""
    target = request.target
    address = "\n".join((target.kind, target.user_id or "", target.mode or "", request.site.channel or ""))
    return address.encode() + b"\n" + request.body
