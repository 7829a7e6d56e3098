"""Sign-ins by OpenID Connect whose person is at the issuer: in MongoDB, encrypted, each taken once."""

from collections.abc import Sequence

import msgspec
from pymongo import WriteConcern

from services.chassis.mongodb.client import Mongo, ensure_ttl_index, mongo_errors
from services.chassis.security.keyed_cipher import Encrypted, KeyedCipher, WrongKeyError
from services.portal.adapters.documents import EXPIRES, date_of
from services.portal.adapters.session_store import ENCRYPTION_KEYS
from services.portal.domain.openid import PendingSignIn

PENDING = "portal_pending_sign_ins"


class MongoPendingSignIns:
    """The `PendingSignIns` in MongoDB."""

    def __init__(self, mongo: Mongo, keys: Sequence[bytes]) -> None:
        self._mongo = mongo
        # By majority: after a failover none may be there again.
        self._pending = mongo.collection(PENDING).with_options(write_concern=WriteConcern("majority"))
        self._cipher = KeyedCipher(keys, setting=ENCRYPTION_KEYS, subject="a sign-in")

    async def create_indexes(self) -> None:
        """Create the index by which old ones are deleted; raises `UnavailableError`."""
        await ensure_ttl_index(self._mongo, PENDING, EXPIRES, 0)

    async def add(self, pending: PendingSignIn) -> None:
        encrypted = self._cipher.encrypt(msgspec.json.encode(pending), _bound_to(pending.id))
        document = {
            "_id": pending.id,
            "key_id": encrypted.key_id,
            "ciphertext": encrypted.ciphertext,
            EXPIRES: date_of(pending.expires_us),
        }
        with mongo_errors():
            await self._pending.insert_one(document)

    async def take(self, pending_id: str) -> PendingSignIn | None:
        with mongo_errors():
            document = await self._pending.find_one_and_delete({"_id": pending_id})
        if document is None:
            return None
        try:
            plain = self._cipher.decrypt(
                Encrypted(document["key_id"], bytes(document["ciphertext"])), _bound_to(pending_id)
            )
        except WrongKeyError:
            return None
        return msgspec.json.decode(plain, type=PendingSignIn)


def _bound_to(pending_id: str) -> bytes:
    # A session's ciphertext cannot be opened as a sign-in's.
    return f"sign-in:{pending_id}".encode()
