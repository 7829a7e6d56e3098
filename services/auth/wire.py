"""Sites, clients, keys and revocations as MongoDB documents, Avro records and JSON."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from services.auth.domain.client import Client, Secret
from services.auth.domain.revocation import Revocation
from services.auth.domain.signing import SigningKey
from services.auth.domain.site import StoredSite
from services.chassis.avro.records import encode_record
from services.chassis.avro.schemas import Schema
from services.values.sites import Site

Document = dict[str, Any]

MICROS = 1_000_000


def site_key(site: int) -> bytes:
    """Return the key of a site's Kafka record."""
    return str(site).encode()


def encode_site(site: Site, schema: Schema) -> bytes:
    """Return the value of a site's Kafka record."""
    return encode_record(site.to_fields(), schema)


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


# MongoDB's driver returns 64-bit integers as a subclass that JSON encoders refuse: hence `int` below.
def client_to_document(client: Client) -> Document:
    """Return the MongoDB document of a client."""
    return {
        "_id": client.client_id,
        "site": client.site,
        "apiKeys": list(client.api_keys),
        "scopes": list(client.scopes),
        "secrets": [{**_secret_to_json(secret), "hash": secret.hash} for secret in client.secrets],
        "revision": client.revision,
    }


def client_from_document(document: Mapping[str, Any]) -> Client:
    """Read the MongoDB document of a client."""
    return Client(
        client_id=document["_id"],
        site=int(document["site"]),
        api_keys=tuple(document["apiKeys"]),
        scopes=tuple(document["scopes"]),
        secrets=tuple(
            Secret(
                secret_id=secret["id"],
                hash=secret["hash"],
                created_at=int(secret["createdAt"]),
                expires_at=None if secret["expiresAt"] is None else int(secret["expiresAt"]),
            )
            for secret in document["secrets"]
        ),
        revision=document["revision"],
    )


def client_to_json(client: Client) -> Document:
    """Return a client as operators see it: without the hashes of its secrets."""
    return {
        "clientId": client.client_id,
        "site": client.site,
        "apiKeys": client.api_keys,
        "scopes": client.scopes,
        "secrets": [_secret_to_json(secret) for secret in client.secrets],
    }


def _secret_to_json(secret: Secret) -> Document:
    return {"id": secret.secret_id, "createdAt": secret.created_at, "expiresAt": secret.expires_at}


def key_to_document(key: SigningKey) -> Document:
    """Return the MongoDB document of a signing key; its private key is wrapped."""
    return {
        "_id": key.number,
        "kid": key.kid,
        "algorithm": key.algorithm,
        "public": dict(key.public),
        "wrappedPrivateKey": key.wrapped_private_key,
        "createdAt": key.created_at,
        "signsFrom": key.signs_from,
    }


def key_from_document(document: Mapping[str, Any]) -> SigningKey:
    """Read the MongoDB document of a signing key."""
    return SigningKey(
        number=document["_id"],
        kid=document["kid"],
        algorithm=document["algorithm"],
        public=document["public"],
        wrapped_private_key=bytes(document["wrappedPrivateKey"]),
        created_at=int(document["createdAt"]),
        signs_from=int(document["signsFrom"]),
    )


def key_to_json(key: SigningKey) -> Document:
    """Return a signing key as operators see it: without its private key."""
    return {"number": key.number, "kid": key.kid, "algorithm": key.algorithm, "signsFrom": key.signs_from}


def revocation_to_document(revocation: Revocation) -> Document:
    """Return the MongoDB document of a revocation; MongoDB deletes it after `until`."""
    return {
        "_id": revocation.key,
        "tokenId": revocation.token_id,
        "clientId": revocation.client_id,
        "issuedBefore": revocation.issued_before,
        "until": datetime.fromtimestamp(revocation.until, UTC),
    }


def revocation_from_document(document: Mapping[str, Any]) -> Revocation:
    """Read the MongoDB document of a revocation."""
    return Revocation(
        token_id=document["tokenId"],
        client_id=document["clientId"],
        issued_before=document["issuedBefore"],
        until=document["until"].timestamp(),
    )
