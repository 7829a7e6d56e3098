"""Credentials of imports, encrypted with the portal's keys.

An import goes on for hours after its owner has signed out. It keeps the credentials that it was started with, and
nothing but it: they are deleted when it ends, and expire with its file in any case.
"""

from typing import Any

import msgspec
from msgspec import Struct
from pymongo.read_concern import ReadConcern

from services.chassis.mongodb.client import Mongo, ensure_ttl_index, mongo_errors
from services.chassis.runtime.logs import logger
from services.chassis.security.keyed_cipher import Encrypted, KeyedCipher, WrongKeyError
from services.portal.adapters.documents import EXPIRES, date_of
from services.portal.domain.file_import import FileImport
from tillstream.http import Credentials

CREDENTIALS = "portal_import_credentials"
_LOG = logger(__name__)


class _Stored(Struct):
    client_id: str
    client_secret: str
    api_key: str


class MongoCredentialVault:
    """The `CredentialStore` in MongoDB."""

    def __init__(self, mongo: Mongo, cipher: KeyedCipher) -> None:
        self._mongo = mongo
        self._credentials = mongo.collection(CREDENTIALS).with_options(read_concern=ReadConcern("majority"))
        self._cipher = cipher

    async def create_indexes(self) -> None:
        """Create the indexes."""
        await ensure_ttl_index(self._mongo, CREDENTIALS, EXPIRES, 0)

    async def put(self, run: FileImport, credentials: Credentials, *, expires_us: int) -> None:
        stored = _Stored(credentials.client_id, credentials.client_secret, credentials.api_key)
        encrypted = self._cipher.encrypt(msgspec.json.encode(stored), _bound_to(run))
        fields = {
            "key_id": encrypted.key_id,
            "ciphertext": encrypted.ciphertext,
            EXPIRES: date_of(expires_us),
        }
        with mongo_errors():
            await self._credentials.replace_one({"_id": run.id}, fields, upsert=True)

    async def get(self, run: FileImport) -> Credentials | None:
        with mongo_errors():
            found: dict[str, Any] | None = await self._credentials.find_one({"_id": run.id})
        if found is None:
            return None
        try:
            opened = self._cipher.decrypt(Encrypted(found["key_id"], bytes(found["ciphertext"])), _bound_to(run))
        except WrongKeyError:
            # A key was removed too early: the import pauses until somebody resumes it.
            _LOG.warning("credentials of an import cannot be decrypted", importId=run.id)
            return None
        stored = msgspec.json.decode(opened, type=_Stored)
        return Credentials(stored.client_id, stored.client_secret, stored.api_key)

    async def delete(self, run: FileImport) -> None:
        with mongo_errors():
            await self._credentials.delete_one({"_id": run.id})


def _bound_to(run: FileImport) -> bytes:
    # Moved to another import, the ciphertext cannot be opened.
    return f"import:{run.id}:{run.site}".encode()
