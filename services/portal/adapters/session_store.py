"""Sessions in MongoDB, encrypted: who reads the database learns when they were used, and nothing else."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from pymongo.read_concern import ReadConcern

from services.chassis.mongodb.client import Mongo, ensure_ttl_index, mongo_errors
from services.chassis.security.keyed_cipher import Encrypted, KeyedCipher, WrongKeyError
from services.portal.domain.session import LIFETIME_US, Grant, Identity, Session

SESSIONS = "portal_sessions"
ENCRYPTION_KEYS = "PORTAL_ENCRYPTION_KEYS"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Content(msgspec.Struct, frozen=True):
    """What is encrypted."""

    client_id: str
    client_secret: str
    grant: Grant
    identity: Identity | None = None


class MongoSessionStore:
    """Keeps sessions. MongoDB deletes old ones; whether one has ended is for its readers to say."""

    def __init__(self, mongo: Mongo, keys: Sequence[bytes]) -> None:
        self._mongo = mongo
        self._sessions = mongo.collection(SESSIONS).with_options(read_concern=ReadConcern("majority"))
        self._cipher = KeyedCipher(keys, setting=ENCRYPTION_KEYS, subject="a session")

    @property
    def key_ids(self) -> Collection[str]:
        """The ids of all keys."""
        return self._cipher.key_ids

    async def create_indexes(self) -> None:
        """Create the index by which old sessions are deleted; raises `UnavailableError`."""
        await ensure_ttl_index(self._mongo, SESSIONS, "expires", 0)

    async def add(self, session: Session) -> None:
        content = _Content(session.client_id, session.client_secret, session.grant, session.identity)
        encrypted = self._cipher.encrypt(msgspec.json.encode(content), session.id.encode())
        document = {
            "_id": session.id,
            "created_us": session.created_us,
            "seen_us": session.seen_us,
            "expires": _EPOCH + timedelta(microseconds=session.created_us + LIFETIME_US),
            "key_id": encrypted.key_id,
            "ciphertext": encrypted.ciphertext,
        }
        with mongo_errors():
            await self._sessions.insert_one(document)

    async def find(self, session_id: str) -> Session | None:
        with mongo_errors():
            document = await self._sessions.find_one({"_id": session_id})
        return None if document is None or "ciphertext" not in document else self._to_session(document)

    def _to_session(self, document: Mapping[str, Any]) -> Session | None:
        encrypted = Encrypted(document["key_id"], bytes(document["ciphertext"]))
        try:
            plain = self._cipher.decrypt(encrypted, document["_id"].encode())
        except WrongKeyError:
            # The key was removed: its sessions have ended.
            return None
        content = msgspec.json.decode(plain, type=_Content)
        return Session(
            id=document["_id"],
            client_id=content.client_id,
            client_secret=content.client_secret,
            grant=content.grant,
            created_us=document["created_us"],
            seen_us=document["seen_us"],
            identity=content.identity,
        )

    async def touch(self, session_id: str, *, seen_us: int) -> None:
        with mongo_errors():
            await self._sessions.update_one({"_id": session_id}, {"$max": {"seen_us": seen_us}})

    async def delete(self, session_id: str) -> bool:
        # Without its content; what is left tells other replicas, and is deleted with the others.
        emptied = {"$unset": {"ciphertext": "", "key_id": ""}}
        with mongo_errors():
            result = await self._sessions.update_one({"_id": session_id, "ciphertext": {"$exists": True}}, emptied)
        return bool(result.modified_count)
