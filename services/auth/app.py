"""Composition of auth: the only place where settings, flows and adapters meet."""

import secrets
import time
from collections.abc import Callable
from functools import partial

from services.auth import wire
from services.auth.adapters.introspector import JwtIntrospector
from services.auth.adapters.key_wrapper import KeyWrapper
from services.auth.adapters.publisher import KafkaPublisher
from services.auth.adapters.secret_hasher import Argon2Hasher
from services.auth.adapters.signer import JwtSigner
from services.auth.adapters.stores import (
    MongoClientStore,
    MongoKeyStore,
    MongoRevocationStore,
    MongoSiteStore,
    create_indexes,
)
from services.auth.domain.revocation import Revocation
from services.auth.domain.site import Site
from services.auth.domain.source_address import parse_networks
from services.auth.flows import management
from services.auth.flows.key_rotation import KeyRotationDeps, ensure_current_key
from services.auth.flows.management import ManagementDeps
from services.auth.flows.tokens import TokenDeps
from services.auth.http import admin, oauth
from services.auth.http.admin import AdminDeps
from services.auth.settings import AuthSettings
from services.chassis.avro.registry_client import load_schemas
from services.chassis.avro.schemas import Schemas
from services.chassis.http import server
from services.chassis.http.ratelimit import RateLimit
from services.chassis.kafka.compacted_table import CompactedTable
from services.chassis.kafka.producer import Producer
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.background import PeriodicTask, StartupTask
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.health import Health
from services.chassis.runtime.lifecycle import Service
from services.chassis.security.audit import AuditLog
from services.chassis.security.revocations import Revocations
from services.chassis.security.sites import Sites
from services.topics import AUTH_REVOCATIONS, AUTH_SITES, SUBJECTS_BY_SCHEMA

MAX_KEY_CHECK_INTERVAL_S = 30.0
# A new key signs this many refresh periods of the verifiers after all replicas of auth publish it.
REFRESH_PERIODS_BEFORE_SIGNING = 2
PUBLISH_INTERVAL_S = 60.0
# Topics have microseconds, the store floating seconds.
TIMESTAMP_TOLERANCE_S = 0.000_01
ATTEMPT_WINDOW_S = 60.0
DAY_S = 86_400


def new_id() -> str:
    """An id that nobody can guess."""
    return secrets.token_hex(16)


def new_secret() -> str:
    """256 random bits, in letters that need no escaping anywhere."""
    return secrets.token_urlsafe(32)


def build_publisher(producer: Producer, schemas: Schemas) -> KafkaPublisher:
    """Sites and revocations to Kafka."""
    return KafkaPublisher(producer, site=schemas["site"], revocation=schemas["revocation"])


def build_management(mongo: Mongo, producer: Producer, schemas: Schemas, *, actor: str, source: str) -> ManagementDeps:
    """What managing sites and clients takes, in the name of `who`."""
    return ManagementDeps(
        sites=MongoSiteStore(mongo),
        clients=MongoClientStore(mongo),
        revocations=MongoRevocationStore(mongo),
        hasher=Argon2Hasher(),
        publisher=build_publisher(producer, schemas),
        audit=AuditLog(),
        now=time.time,
        new_id=new_id,
        new_secret=new_secret,
        actor=actor,
        source=source,
    )


def key_check_interval_s(settings: AuthSettings) -> float:
    """How often each replica looks at the keys: how late it may be to publish one that another has added."""
    return min(MAX_KEY_CHECK_INTERVAL_S, settings.auth_jwks_refresh_s / 2)


def build_key_rotation(settings: AuthSettings, mongo: Mongo) -> tuple[KeyRotationDeps, JwtSigner]:
    """What tending the signing keys takes, and the signer that uses them."""
    vault = KeyWrapper(settings.encryption_key, settings.auth_algorithm)
    signer = JwtSigner(vault.unwrap, settings.auth_algorithm, now=time.time)
    world = KeyRotationDeps(
        keys=MongoKeyStore(mongo),
        generator=vault,
        signer=signer,
        audit=AuditLog(),
        lifetime_s=settings.signing_key_lifetime_days * DAY_S,
        activation_delay_s=REFRESH_PERIODS_BEFORE_SIGNING * settings.auth_jwks_refresh_s
        + key_check_interval_s(settings),
        algorithm=settings.auth_algorithm,
        now=time.time,
    )
    return world, signer


def build_tokens(
    settings: AuthSettings,
    mongo: Mongo,
    publisher: KafkaPublisher,
    *,
    signer: JwtSigner,
    introspector: JwtIntrospector,
    revoked_before: Callable[[str], float],
) -> TokenDeps:
    """What issuing and revoking tokens takes."""
    return TokenDeps(
        clients=MongoClientStore(mongo),
        hasher=Argon2Hasher(),
        signer=signer,
        introspector=introspector,
        revocations=MongoRevocationStore(mongo),
        revoked_before=revoked_before,
        publisher=publisher,
        audit=AuditLog(),
        failed_attempts=RateLimit(window_s=ATTEMPT_WINDOW_S),
        issuer=settings.auth_issuer,
        allow_query_secrets=settings.allow_query_secrets,
        now=time.time,
        new_id=new_id,
    )


async def build(settings: AuthSettings) -> Service:
    """Auth as a process."""
    schemas = await load_schemas(settings.schemas_dir, settings, SUBJECTS_BY_SCHEMA)
    mongo = Mongo.connect(settings)
    producer = Producer(settings, client_id="auth")
    sites = Sites(schemas)
    site_table = CompactedTable(settings, AUTH_SITES.name, sites.apply, client_id="auth")
    revocations = Revocations(schemas)
    revocation_table = CompactedTable(settings, AUTH_REVOCATIONS.name, revocations.apply, client_id="auth")
    keys, signer = build_key_rotation(settings, mongo)
    inspector = JwtIntrospector(
        issuer=settings.auth_issuer,
        algorithm=settings.auth_algorithm,
        key_set=signer.key_set,
        is_revoked=revocations.is_revoked,
        revocations_loaded=lambda: revocation_table.ready,
        now=time.time,
    )
    world = build_tokens(
        settings,
        mongo,
        build_publisher(producer, schemas),
        signer=signer,
        introspector=inspector,
        revoked_before=revocations.issued_before,
    )
    own_office = build_management(mongo, producer, schemas, actor="auth", source="auth")
    administration = AdminDeps(
        tokens=world,
        management=own_office,
        keys=keys,
        verify=inspector.verify_admin,
        proxies=parse_networks(settings.trusted_proxies),
        openapi=settings.schemas_dir / "openapi" / "auth-admin.yaml",
    )
    health = Health()
    health.ready_when("signing key", lambda: signer.ready)
    return Service(
        name="auth",
        health=health,
        components=[
            server.operations_server(health, host=settings.operations_host, port=settings.operations_port),
            mongo,
            producer,
            site_table,
            revocation_table,
            StartupTask([partial(create_indexes, mongo)]),
            PeriodicTask("signing keys", partial(ensure_current_key, keys), interval_s=key_check_interval_s(settings)),
            PeriodicTask(
                "sites", partial(_publish_sites, site_table, sites, own_office), interval_s=PUBLISH_INTERVAL_S
            ),
            PeriodicTask(
                "revocations",
                partial(_publish_revocations, revocation_table, revocations, own_office),
                interval_s=PUBLISH_INTERVAL_S,
            ),
            *_build_http(settings, world, signer, administration),
        ],
    )


def _build_http(
    settings: AuthSettings, world: TokenDeps, signer: JwtSigner, administration: AdminDeps
) -> list[server.HttpServer]:
    """The public port, and the internal one if there is to be one."""
    public = oauth.build_routes(
        world,
        key_set=signer.key_set,
        proxies=parse_networks(settings.trusted_proxies),
        public_url=settings.auth_public_url or settings.auth_issuer,
        openapi=settings.schemas_dir / "openapi" / "auth.yaml",
    )
    listeners = [server.HttpServer(server.build_application(public), host=settings.http_host, port=settings.http_port)]
    if settings.admin_port is not None:
        internal = server.build_application(admin.build_routes(administration))
        listeners.append(server.HttpServer(internal, host=settings.admin_host, port=settings.admin_port))
    return listeners


async def _publish_revocations(table: CompactedTable, published: Revocations, own_office: ManagementDeps) -> None:
    if not table.ready:
        raise UnavailableError("Kafka")

    def is_published(revocation: Revocation) -> bool:
        if revocation.token_id is not None:
            return published.has_token(revocation.token_id)
        return (
            published.issued_before(revocation.client_id or "")
            >= (revocation.issued_before or 0) - TIMESTAMP_TOLERANCE_S
        )

    await management.publish_missing_revocations(is_published, own_office)


async def _publish_sites(table: CompactedTable, published: Sites, own_office: ManagementDeps) -> None:
    if not table.ready:
        raise UnavailableError("Kafka")

    def known(number: int) -> Site | None:
        site = published.get(number)
        return wire.published_site(site) if site else None

    await management.publish_missing_sites(known, own_office)
