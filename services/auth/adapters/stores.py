"""Sites, clients, signing keys and revocations in MongoDB."""

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.errors import DuplicateKeyError

from services.auth import wire
from services.auth.domain.client import Client
from services.auth.domain.revocation import Revocation
from services.auth.domain.signing import SigningKey
from services.auth.domain.site import ApiKeyConflictError, Site
from services.chassis.mongodb.client import Mongo, ensure_ttl_index, mongo_errors

SITES = "auth_sites"
CLIENTS = "auth_clients"
KEYS = "auth_keys"
REVOCATIONS = "auth_revocations"


async def create_indexes(mongo: Mongo) -> None:
    """What keeps an API key to one site, and forgets revocations. Harmless when it is there already. Raises `Away`."""
    with mongo_errors("MongoDB"):
        await mongo.collection(SITES).create_index("apiKeys.apiKey", unique=True, sparse=True, name="one_site_per_key")
    await ensure_ttl_index(mongo, REVOCATIONS, "until", 0)


class MongoClientStore:
    """Clients by id."""

    def __init__(self, mongo: Mongo) -> None:
        self._clients = mongo.collection(CLIENTS)

    async def find(self, client_id: str) -> Client | None:
        """The client of this id. Raises `Away`."""
        with mongo_errors("MongoDB"):
            document = await self._clients.find_one({"_id": client_id})
        return wire.client_from_document(document) if document else None

    async def all(self) -> Sequence[Client]:
        """All clients, by id. Raises `Away`."""
        return [wire.client_from_document(document) for document in await _find_all(self._clients)]

    async def save(self, client: Client) -> bool:
        """Keep the client as its next revision, if its revision is the one that is kept. Raises `Away`."""
        return await _save(self._clients, wire.client_to_document(client))


class MongoSiteStore:
    """Sites by number."""

    def __init__(self, mongo: Mongo) -> None:
        self._sites = mongo.collection(SITES)

    async def find(self, site: int) -> Site | None:
        """The site of this number. Raises `Away`."""
        with mongo_errors("MongoDB"):
            document = await self._sites.find_one({"_id": site})
        return wire.site_from_document(document) if document else None

    async def all(self) -> Sequence[Site]:
        """All sites, by number. Raises `Away`."""
        return [wire.site_from_document(document) for document in await _find_all(self._sites)]

    async def save(self, site: Site) -> bool:
        """Keep the site as its next revision, if its revision is the one that is kept.

        Raises `ApiKeyTaken`, or `Away`.
        """
        try:
            return await _save(self._sites, wire.site_to_document(site))
        except DuplicateKeyError:
            raise ApiKeyConflictError(f"site {site.site}: one of its API keys belongs to another site") from None


class MongoKeyStore:
    """Signing keys by number: the number is the id, so that of two replicas only one can add the next."""

    def __init__(self, mongo: Mongo) -> None:
        self._keys = mongo.collection(KEYS)

    async def all(self) -> Sequence[SigningKey]:
        """All keys, by number. Raises `Away`."""
        return [wire.key_from_document(document) for document in await _find_all(self._keys)]

    async def add(self, key: SigningKey) -> bool:
        """Keep the key, unless there is one of its number. Raises `Away`."""
        return await _insert(self._keys, wire.key_to_document(key))


class MongoRevocationStore:
    """Revocations by what they revoke."""

    def __init__(self, mongo: Mongo) -> None:
        self._revocations = mongo.collection(REVOCATIONS)

    async def save(self, revocation: Revocation) -> None:
        """Keep it; of two for one client the later one counts. Raises `Away`."""
        document = wire.revocation_to_document(revocation)
        # The greater end is the later revocation, whichever replica is faster.
        not_later = {"_id": document["_id"], "until": {"$lte": document["until"]}}
        try:
            with mongo_errors("MongoDB"):
                await self._revocations.replace_one(not_later, document, upsert=True)
        except DuplicateKeyError:
            return

    async def all(self) -> Sequence[Revocation]:
        """All that are kept. Raises `Away`."""
        return [wire.revocation_from_document(document) for document in await _find_all(self._revocations)]


async def _find_all(collection: Any) -> list[Mapping[str, Any]]:
    with mongo_errors("MongoDB"):
        found: list[Mapping[str, Any]] = await collection.find().sort("_id", 1).to_list(None)
    return found


async def _save(collection: Any, document: wire.Document) -> bool:
    """Compare and set: `revision` is what the caller read."""
    read = document["revision"]
    document = {**document, "revision": read + 1}
    if read == 0:
        return await _insert(collection, document)
    with mongo_errors("MongoDB"):
        written = await collection.replace_one({"_id": document["_id"], "revision": read}, document)
    return bool(written.matched_count)


async def _insert(collection: Any, document: wire.Document) -> bool:
    try:
        with mongo_errors("MongoDB"):
            await collection.insert_one(document)
    except DuplicateKeyError as error:
        if "_id" not in (error.details or {}).get("keyPattern", {}):
            raise
        return False
    return True
