"""Sites, clients and keys as they stand in MongoDB and on topics."""

import io
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fastavro import schemaless_writer

from services.auth.domain.client import Client, Secret
from services.auth.domain.revocation import Revocation
from services.auth.domain.signing import SigningKey
from services.auth.domain.site import ApiKey, Site
from services.chassis.avro.schemas import Schema
from services.chassis.security import sites

Document = dict[str, Any]

MICROS = 1_000_000


def site_key(site: int) -> bytes:
    """The key of a site's record."""
    return str(site).encode()


def encode_site(site: Site, schema: Schema) -> bytes:
    """The value of a site's record."""
    return _encode(_site_fields(site), schema)


def _encode(fields: Document, schema: Schema) -> bytes:
    out = io.BytesIO(schema.prefix)
    out.seek(0, io.SEEK_END)
    schemaless_writer(out, schema.plain, fields, strict=True)
    return out.getvalue()


def encode_revocation(revocation: Revocation, schema: Schema) -> bytes:
    """The value of a revocation's record."""
    before = revocation.issued_before
    fields = {
        "tokenId": revocation.token_id,
        "clientId": revocation.client_id,
        "issuedBefore": None if before is None else round(before * MICROS),
        "until": round(revocation.until * MICROS),
    }
    return _encode(fields, schema)


def published_site(site: sites.Site) -> Site:
    """A site as the topic has it, in our terms."""
    keys = tuple(ApiKey(api_key=key.api_key, channel=key.channel) for key in site.api_keys)
    return Site(
        site=site.site,
        name=site.name,
        app_id=site.app_id,
        root_source=site.root_source,
        datacenter=site.datacenter,
        time_zone=site.time_zone,
        api_keys=keys,
        records_per_second=site.records_per_second,
        invoice_email=site.invoice_email,
    )


def _site_fields(site: Site) -> Document:
    return {
        "site": site.site,
        "name": site.name,
        "appId": site.app_id,
        "rootSource": site.root_source,
        "datacenter": site.datacenter,
        "timeZone": site.time_zone,
        "apiKeys": [{"apiKey": key.api_key, "channel": key.channel} for key in site.api_keys],
        "recordsPerSecond": site.records_per_second,
        "invoiceEmail": site.invoice_email,
    }


def site_to_document(site: Site) -> Document:
    """A site as it is kept."""
    fields = _site_fields(site)
    return {"_id": fields.pop("site"), **fields, "revision": site.revision}


# MongoDB gives numbers beyond 32 bits back in a type of its own, which is rendered nowhere: hence `int` below.
def site_from_document(document: Mapping[str, Any]) -> Site:
    """A site that was kept."""
    return Site(
        site=int(document["_id"]),
        name=document["name"],
        app_id=int(document["appId"]),
        root_source=document["rootSource"],
        datacenter=document["datacenter"],
        time_zone=document["timeZone"],
        api_keys=tuple(ApiKey(api_key=key["apiKey"], channel=key["channel"]) for key in document["apiKeys"]),
        records_per_second=document["recordsPerSecond"],
        invoice_email=document["invoiceEmail"],
        revision=document["revision"],
    )


def client_to_document(client: Client) -> Document:
    """A client as it is kept."""
    return {
        "_id": client.client_id,
        "site": client.site,
        "apiKeys": list(client.api_keys),
        "scopes": list(client.scopes),
        "secrets": [
            {
                "id": secret.secret_id,
                "hash": secret.hash,
                "createdAt": secret.created_at,
                "expiresAt": secret.expires_at,
            }
            for secret in client.secrets
        ],
        "revision": client.revision,
    }


def client_from_document(document: Mapping[str, Any]) -> Client:
    """A client that was kept."""
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


def key_to_document(key: SigningKey) -> Document:
    """A signing key as it is kept: the private half sealed."""
    return {
        "_id": key.number,
        "kid": key.kid,
        "algorithm": key.algorithm,
        "public": dict(key.public),
        "sealed": key.wrapped_private_key,
        "createdAt": key.created_at,
        "signsFrom": key.signs_from,
    }


def key_from_document(document: Mapping[str, Any]) -> SigningKey:
    """A signing key that was kept."""
    return SigningKey(
        number=document["_id"],
        kid=document["kid"],
        algorithm=document["algorithm"],
        public=document["public"],
        wrapped_private_key=bytes(document["sealed"]),
        created_at=int(document["createdAt"]),
        signs_from=int(document["signsFrom"]),
    )


def revocation_to_document(revocation: Revocation) -> Document:
    """A revocation as it is kept; the database forgets it after `until`."""
    return {
        "_id": revocation.key,
        "tokenId": revocation.token_id,
        "clientId": revocation.client_id,
        "issuedBefore": revocation.issued_before,
        "until": datetime.fromtimestamp(revocation.until, UTC),
    }


def revocation_from_document(document: Mapping[str, Any]) -> Revocation:
    """A revocation that was kept."""
    return Revocation(
        token_id=document["tokenId"],
        client_id=document["clientId"],
        issued_before=document["issuedBefore"],
        until=document["until"].timestamp(),
    )


def site_summary(site: Site) -> Document:
    """A site as operators are shown it."""
    return _site_fields(site)


def client_summary(client: Client) -> Document:
    """A client as operators are shown it: without hashes."""
    document = client_to_document(client)
    shown = [{name: value for name, value in secret.items() if name != "hash"} for secret in document["secrets"]]
    return {
        "clientId": client.client_id,
        "site": client.site,
        "apiKeys": document["apiKeys"],
        "scopes": document["scopes"],
        "secrets": shown,
    }


def key_summary(key: SigningKey) -> Document:
    """A signing key as operators are shown it: without its private half."""
    return {"number": key.number, "kid": key.kid, "algorithm": key.algorithm, "signsFrom": key.signs_from}
