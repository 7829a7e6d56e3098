"""Responses to requests with an `Idempotency-Key`, stored in MongoDB. Requests without one never touch it."""

from services.chassis.http.idempotency import HEADER, IdempotencyKeys, Reservation, StoredResponse, idempotency_key
from services.ingest.domain.import_job import ImportRequest
from services.ingest.ports import IdempotencyStore


class MongoIdempotencyStore(IdempotencyStore):
    """Idempotency keys of the import API."""

    def __init__(self, keys: IdempotencyKeys) -> None:
        self._keys = keys

    async def reserve(self, request: ImportRequest, job_id: str) -> Reservation | StoredResponse:
        key = idempotency_key({HEADER: request.idempotency_key or ""}) or ""
        return await self._keys.reserve(request.client_id, key, _fingerprint(request), lambda: job_id)

    async def complete(self, reservation: Reservation, response: StoredResponse) -> None:
        await self._keys.complete(reservation, response)

    async def release_for_retry(self, reservation: Reservation) -> None:
        await self._keys.release_for_retry(reservation)

    async def discard(self, reservation: Reservation) -> None:
        await self._keys.discard(reservation)


def _fingerprint(request: ImportRequest) -> bytes:
    """Everything that the response depends on: a key is bound to one body sent to one address."""
    target = request.target
    address = "\n".join((target.kind, target.user_id or "", target.mode or "", request.site.channel or ""))
    return address.encode() + b"\n" + request.body
