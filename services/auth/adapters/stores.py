"""Stores of sites, clients, signing keys and revocations in MongoDB. All methods raise `UnavailableError`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import msgspec
from pymongo.errors import DuplicateKeyError

from services.auth import wire
from services.auth.domain.client import Client
from services.auth.domain.revocation import Revocation
from services.auth.domain.signing import SigningKey
from services.auth.domain.site import ApiKeyConflictError, StoredSite
from services.auth.ports import ClientStore, KeyStore, RevocationStore, SiteStore
from services.chassis.mongodb.client import Mongo, create_unique_index, ensure_ttl_index, mongo_errors
from services.values.sites import Site

SITES = "auth_sites"
CLIENTS = "auth_clients"
KEYS = "auth_keys"
REVOCATIONS = "auth_revocations"


async def create_indexes(mongo: Mongo) -> None:
    """Create the indexes that give an API key to one site and expire revocations. Idempotent."""
    api_key = [("apiKeys.apiKey", 1)]
    await create_unique_index(mongo.collection(SITES), api_key, name="one_site_per_key", sparse=True)
    await ensure_ttl_index(mongo, REVOCATIONS, "until", 0)


class MongoClientStore(ClientStore):
    """Clients by id."""

    def __init__(self, mongo: Mongo) -> None:
        self._clients = mongo.collection(CLIENTS)

    async def find(self, client_id: str) -> Client | None:
        document = await _find(self._clients, client_id)
        return msgspec.convert(document, Client) if document else None

    async def all(self) -> Sequence[Client]:
        return [msgspec.convert(document, Client) for document in await _find_all(self._clients)]

    async def save(self, client: Client) -> bool:
        return await _compare_and_set(self._clients, {"_id": client.client_id, **asdict(client)})


class MongoSiteStore(SiteStore):
    """Sites by number."""

    def __init__(self, mongo: Mongo) -> None:
        self._sites = mongo.collection(SITES)

    async def find(self, site: int) -> StoredSite | None:
        document = await _find(self._sites, site)
        return wire.site_from_document(document) if document else None

    async def all(self) -> Sequence[Site]:
        return [wire.site_from_document(document).site for document in await _find_all(self._sites)]

    async def save(self, site: Site, *, expected_revision: int) -> bool:
        try:
            return await _compare_and_set(self._sites, wire.site_to_document(site, expected_revision))
        except DuplicateKeyError:
            raise ApiKeyConflictError(f"site {site.site}: one of its API keys belongs to another site") from None


class MongoKeyStore(KeyStore):
    """Signing keys by number: it is the document's id, so that only one of two replicas can add the next key."""

    def __init__(self, mongo: Mongo) -> None:
        self._keys = mongo.collection(KEYS)

    async def all(self) -> Sequence[SigningKey]:
        return [msgspec.convert(document, SigningKey) for document in await _find_all(self._keys)]

    async def add(self, key: SigningKey) -> bool:
        return await _insert(self._keys, {"_id": key.number, **asdict(key)})


class MongoRevocationStore(RevocationStore):
    """Revocations by the token or client that they revoke."""

    def __init__(self, mongo: Mongo) -> None:
        self._revocations = mongo.collection(REVOCATIONS)

    async def save(self, revocation: Revocation) -> None:
        document = wire.revocation_to_document(revocation)
        # The later revocation has the later `until`, in whichever order replicas store them.
        not_later = {"_id": document["_id"], "until": {"$lte": document["until"]}}
        try:
            with mongo_errors("MongoDB"):
                await self._revocations.replace_one(not_later, document, upsert=True)
        except DuplicateKeyError:
            return

    async def all(self) -> Sequence[Revocation]:
        return [wire.revocation_from_document(document) for document in await _find_all(self._revocations)]


async def _find(collection: Any, document_id: object) -> Mapping[str, Any] | None:
    with mongo_errors("MongoDB"):
        document: Mapping[str, Any] | None = await collection.find_one({"_id": document_id})
    return document


async def _find_all(collection: Any) -> list[Mapping[str, Any]]:
    with mongo_errors("MongoDB"):
        documents: list[Mapping[str, Any]] = await collection.find().sort("_id", 1).to_list(None)
    return documents


async def _compare_and_set(collection: Any, document: wire.Document) -> bool:
    """Store the document if its `revision` is the stored one, and increment it."""
    expected = document["revision"]
    document = {**document, "revision": expected + 1}
    if expected == 0:
        return await _insert(collection, document)
    with mongo_errors("MongoDB"):
        result = await collection.replace_one({"_id": document["_id"], "revision": expected}, document)
    return bool(result.matched_count)


async def _insert(collection: Any, document: wire.Document) -> bool:
    try:
        with mongo_errors("MongoDB"):
            await collection.insert_one(document)
    except DuplicateKeyError as error:
        if "_id" not in (error.details or {}).get("keyPattern", {}):
            raise
        return False
    return True
