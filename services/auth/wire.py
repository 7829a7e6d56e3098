"""Sites and revocations as MongoDB documents and Avro records; clients and keys as JSON."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import msgspec

from services.auth.domain.client import Client
from services.auth.domain.revocation import Revocation
from services.auth.domain.signing import SigningKey
from services.auth.domain.site import StoredSite
from services.chassis.avro.records import encode_record
from services.chassis.avro.schemas import Schema
from services.values.sites import Site

Document = dict[str, Any]

MICROS = 1_000_000


def encode_revocation(revocation: Revocation, schema: Schema) -> bytes:
    """Return the value of a revocation's Kafka record."""
    before = revocation.issued_before
    fields = {
        "tokenId": revocation.token_id,
        "clientId": revocation.client_id,
        "issuedBefore": None if before is None else round(before * MICROS),
        "until": round(revocation.until * MICROS),
    }
    return encode_record(fields, schema)


def site_to_document(site: Site, revision: int) -> Document:
    """Return the MongoDB document of a site."""
    fields = site.to_fields()
    return {"_id": fields.pop("site"), **fields, "revision": revision}


def site_from_document(document: Mapping[str, Any]) -> StoredSite:
    """Read the MongoDB document of a site."""
    return StoredSite(Site.from_fields({**document, "site": document["_id"]}), document["revision"])


def client_to_json(client: Client) -> Document:
    """Return a client as operators see it: without the hashes of its secrets."""
    return {
        "clientId": client.client_id,
        "site": client.site,
        "apiKeys": client.api_keys,
        "scopes": client.scopes,
        "secrets": [
            {"id": secret.secret_id, "createdAt": secret.created_at, "expiresAt": secret.expires_at}
            for secret in client.secrets
        ],
    }


def key_to_json(key: SigningKey) -> Document:
    """Return a signing key as operators see it: without its private key."""
    return {"number": key.number, "kid": key.kid, "algorithm": key.algorithm, "signsFrom": key.signs_from}


def revocation_to_document(revocation: Revocation) -> Document:
    """Return the MongoDB document of a revocation; MongoDB deletes it after `until`."""
    until = datetime.fromtimestamp(revocation.until, UTC)
    return {"_id": revocation.key, **asdict(revocation), "until": until}


def revocation_from_document(document: Mapping[str, Any]) -> Revocation:
    """Read the MongoDB document of a revocation."""
    return msgspec.convert({**document, "until": document["until"].timestamp()}, Revocation)
