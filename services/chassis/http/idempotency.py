"""`Idempotency-Key`: a request that is sent again gets the response to the first one.

A key is reserved in MongoDB under a lease before the work begins. Meanwhile, requests with the same key are refused;
after a crash the next one continues under the id that was reserved, so that nothing is done twice.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

from msgspec import Struct
from pymongo.errors import DuplicateKeyError

from services.chassis.mongodb.client import Mongo, ensure_ttl_index, mongo_errors
from services.chassis.runtime.errors import Problem, UnavailableError

COLLECTION = "idempotency_keys"
HEADER = "Idempotency-Key"
REPLAYED = {"Idempotent-Replayed": "true"}
MAX_KEY_LENGTH = 255
RETENTION_S = 86_400
LEASE_S = 30


class StoredResponse(Struct, frozen=True):
    """The stored part of a response."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class Reservation(Struct, frozen=True):
    """The right to process the request under this id. A retry may find it processed before, in part or completely."""

    key: str
    resource_id: str
    owner: str
    is_retry: bool = False


class IdempotencyKeys:
    """The keys of one API; `scope` separates those of different APIs.

    `now` is the brokers' time: MongoDB would remove a key at once that a clock a day behind has dated.
    """

    def __init__(self, mongo: Mongo, *, scope: str, now: Callable[[], datetime]) -> None:
        self._mongo = mongo
        self._scope = scope
        self._now = now
        self._keys = mongo.collection(COLLECTION)

    async def create_indexes(self) -> None:
        """Create the index that expires keys after a day; raises `UnavailableError`."""
        await ensure_ttl_index(self._mongo, COLLECTION, "reserved_at", RETENTION_S)

    async def reserve(
        self, client: str, key: str, body: bytes, new_id: Callable[[], str]
    ) -> Reservation | StoredResponse:
        """Reserve the key, or return the response stored under it.

        Raises a 409 while another request holds the key, a 422 if the key came with another body, and
        `UnavailableError`.
        """
        key_hash, body_hash, now = self._hash(client, key), sha256(body).digest(), self._now()
        owner, resource_id = uuid4().hex, new_id()
        lease = {"owner": owner, "lease_until": now + timedelta(seconds=LEASE_S)}
        document = {
            "_id": key_hash,
            "body_hash": body_hash,
            "resource_id": resource_id,
            "reserved_at": now,
            "response": None,
            **lease,
        }
        try:
            with mongo_errors():
                await self._keys.insert_one(document)
        except DuplicateKeyError:
            return await self._existing(key_hash, body_hash, lease)
        return Reservation(key_hash, resource_id, owner)

    async def complete(self, reservation: Reservation, response: StoredResponse) -> None:
        """Store the response. If that fails, a retry executes the request again under the same id."""
        stored = {"status": response.status, "body": response.body, "headers": dict(response.headers)}
        with suppress(UnavailableError), mongo_errors():
            await self._keys.update_one({"_id": reservation.key, "response": None}, {"$set": {"response": stored}})

    async def release_for_retry(self, reservation: Reservation) -> None:
        """Allow a retry under the same id: the outcome is unknown. If that fails, the lease expires."""
        with suppress(UnavailableError), mongo_errors():
            await self._keys.update_one(_owned(reservation), {"$set": {"lease_until": self._now()}})

    async def discard(self, reservation: Reservation) -> None:
        """Free the key of a refused request. If that fails, its lease expires."""
        if reservation.is_retry:
            # What an earlier attempt did under this id must remain reachable.
            await self.release_for_retry(reservation)
            return
        with suppress(UnavailableError), mongo_errors():
            await self._keys.delete_one(_owned(reservation))

    async def _existing(
        self, key_hash: str, body_hash: bytes, lease: Mapping[str, Any]
    ) -> Reservation | StoredResponse:
        with mongo_errors():
            existing = await self._keys.find_one({"_id": key_hash})
        if existing is None:
            # It was discarded between insert and find: a retry finds the key free.
            raise _in_progress()
        if bytes(existing["body_hash"]) != body_hash:
            raise Problem(422, "IDEMPOTENCY_CONFLICT", "this Idempotency-Key came with another request before")
        response = existing["response"]
        if response is not None:
            return StoredResponse(response["status"], bytes(response["body"]), response["headers"])
        # A lease of more than its length was reserved by a clock that was ahead.
        if timedelta(0) < existing["lease_until"] - self._now() <= timedelta(seconds=2 * LEASE_S):
            raise _in_progress()
        return await self._take_over(existing, lease)

    async def _take_over(self, existing: Mapping[str, Any], lease: Mapping[str, Any]) -> Reservation:
        guard = {name: existing[name] for name in ("_id", "owner", "lease_until", "response")}
        with mongo_errors():
            result = await self._keys.update_one(guard, {"$set": dict(lease)})
        if not result.matched_count:
            raise _in_progress()
        return Reservation(existing["_id"], existing["resource_id"], lease["owner"], is_retry=True)

    def _hash(self, client: str, key: str) -> str:
        return sha256(f"{self._scope}\n{client}\n{key}".encode()).hexdigest()


def _owned(reservation: Reservation) -> dict[str, Any]:
    return {"_id": reservation.key, "owner": reservation.owner, "response": None}


def idempotency_key(headers: Mapping[str, str]) -> str | None:
    """Return the request's key; raises a 400 for an invalid one."""
    key = headers.get(HEADER)
    if key is None:
        return None
    if not (0 < len(key) <= MAX_KEY_LENGTH and key.isascii() and key.isprintable()):
        detail = f"an Idempotency-Key has 1 to {MAX_KEY_LENGTH} printable ASCII characters"
        raise Problem(400, "INVALID_IDEMPOTENCY_KEY", detail)
    return key


def _in_progress() -> Problem:
    # Nearly all first requests end within a second; only one that crashed keeps the key until its lease expires.
    detail = "the first request with this Idempotency-Key is still in progress"
    return Problem(409, "IDEMPOTENCY_IN_PROGRESS", detail, headers={"Retry-After": "1"})
