"""`Idempotency-Key`: a request that is sent again gets the answer of the first one.

Reserved in MongoDB before the work begins, under a lease: who comes while it runs waits, who comes after a crash goes
on with the id that was reserved, so that nothing is done twice.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

from msgspec import Struct
from pymongo.errors import DuplicateKeyError

from services.chassis.mongodb.client import Mongo, ensure_ttl_index, mongo_errors
from services.chassis.runtime.errors import Problem

COLLECTION = "idempotency_keys"
HEADER = "Idempotency-Key"
REPLAYED = {"Idempotent-Replayed": "true"}
MAX_KEY_LENGTH = 255
RETENTION_S = 86_400
LEASE_S = 30


class StoredResponse(Struct, frozen=True):
    """An answer, as far as it is kept."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class Reservation(Struct, frozen=True):
    """The right to do the work, under this id. `is_retry`: it may have been done in part, or whole, before."""

    key: str
    resource_id: str
    owner: str
    is_retry: bool = False


class IdempotencyKeys:
    """Keys of one API. `scope` keeps those of different APIs apart."""

    def __init__(self, mongo: Mongo, *, scope: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._mongo = mongo
        self._scope = scope
        self._now = now
        self._keys = mongo.collection(COLLECTION)

    async def create_indexes(self) -> None:
        """Make the index by which keys are forgotten after a day; raises `Away`."""
        await ensure_ttl_index(self._mongo, COLLECTION, "reserved", RETENTION_S)

    async def reserve(
        self, client: str, key: str, body: bytes, new_id: Callable[[], str]
    ) -> Reservation | StoredResponse:
        """The first answer if there is one, else the right to make it.

        Raises `Problem`: 409 while somebody makes it, 422 if the key came with another body; `Away` if nobody knows.
        """
        name, digest, now = self._name(client, key), sha256(body).digest(), self._now()
        lease = {"holder": uuid4().hex, "until": now + timedelta(seconds=LEASE_S)}
        resource_id = new_id()
        fresh = {"_id": name, "body": digest, "resource": resource_id, "reserved": now, **lease}
        try:
            with mongo_errors():
                await self._keys.insert_one(fresh)
        except DuplicateKeyError:
            return await self._known(name, digest, lease)
        return Reservation(name, resource_id, str(lease["holder"]))

    async def complete(self, reservation: Reservation, response: StoredResponse) -> None:
        """Keep the answer; raises `Away`."""
        kept = {"status": response.status, "body": response.body, "headers": dict(response.headers)}
        with mongo_errors():
            await self._keys.update_one({"_id": reservation.key, "reply": None}, {"$set": {"reply": kept}})

    async def release_for_retry(self, reservation: Reservation) -> None:
        """The outcome is unknown: let a retry go on at once, with the same id. Raises `Away`."""
        with mongo_errors():
            await self._keys.update_one(self._held(reservation), {"$set": {"until": self._now()}})

    async def discard(self, reservation: Reservation) -> None:
        """The request was refused, nothing was done: the key is free again. Raises `Away`."""
        if reservation.is_retry:
            # What an earlier attempt has done under this id must stay findable.
            await self.release_for_retry(reservation)
            return
        with mongo_errors():
            await self._keys.delete_one(self._held(reservation))

    async def _known(self, name: str, digest: bytes, lease: Mapping[str, Any]) -> Reservation | StoredResponse:
        with mongo_errors():
            known = await self._keys.find_one({"_id": name})
        if known is None:
            # Forgotten between two looks: whoever asks again finds the key free.
            raise _in_progress(1)
        if bytes(known["body"]) != digest:
            raise Problem(422, "IDEMPOTENCY_CONFLICT", "this Idempotency-Key came with another request before")
        reply = known.get("reply")
        if reply is not None:
            return StoredResponse(reply["status"], bytes(reply["body"]), reply["headers"])
        left_s = (known["until"] - self._now()).total_seconds()
        if left_s > 0:
            raise _in_progress(min(int(left_s) + 1, LEASE_S))
        return await self._take_over(known, lease)

    async def _take_over(self, known: Mapping[str, Any], lease: Mapping[str, Any]) -> Reservation:
        guard = {"_id": known["_id"], "holder": known["holder"], "until": known["until"], "reply": None}
        with mongo_errors():
            taken = await self._keys.update_one(guard, {"$set": dict(lease)})
        if not taken.matched_count:
            raise _in_progress(1)
        return Reservation(known["_id"], known["resource"], lease["holder"], is_retry=True)

    def _name(self, client: str, key: str) -> str:
        return sha256(f"{self._scope}\n{client}\n{key}".encode()).hexdigest()

    @staticmethod
    def _held(turn: Reservation) -> dict[str, Any]:
        return {"_id": turn.key, "holder": turn.owner, "reply": None}


def idempotency_key(headers: Mapping[str, str]) -> str | None:
    """The request's key; raises a 400 for one that cannot be kept."""
    key = headers.get(HEADER)
    if key is None:
        return None
    if not (0 < len(key) <= MAX_KEY_LENGTH and key.isascii() and key.isprintable()):
        detail = f"an Idempotency-Key has 1 to {MAX_KEY_LENGTH} printable ASCII characters"
        raise Problem(400, "INVALID_IDEMPOTENCY_KEY", detail)
    return key


def _in_progress(seconds: int) -> Problem:
    detail = "the first request with this Idempotency-Key is still being answered"
    return Problem(409, "IDEMPOTENCY_IN_PROGRESS", detail, headers={"Retry-After": str(seconds)})
