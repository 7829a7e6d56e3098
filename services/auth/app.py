"""Composition root of auth: builds the service from its settings, flows and adapters."""

import secrets
from collections.abc import Awaitable, Callable
from functools import partial

from services.auth.adapters.introspector import JwtIntrospector
from services.auth.adapters.key_wrapper import KeyDecryptionError, KeyWrapper
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
from services.auth.flows import management
from services.auth.flows.key_rotation import KeyRotationDeps, ensure_current_key
from services.auth.flows.management import ManagementDeps
from services.auth.flows.tokens import TokenDeps
from services.auth.http import admin, oauth
from services.auth.http.admin import AdminDeps
from services.auth.settings import AuthSettings
from services.chassis.avro.registry_client import load_schemas
from services.chassis.avro.schemas import Schemas
from services.chassis.http.rate_limit import RateLimit
from services.chassis.http.server import HttpServer, build_application, operations_server
from services.chassis.http.source_address import parse_networks
from services.chassis.kafka.broker_clock import BrokerClock
from services.chassis.kafka.compacted_table import CompactedTable
from services.chassis.kafka.producer import Producer
from services.chassis.mongodb.client import Mongo
from services.chassis.mongodb.key_check import verify_keys
from services.chassis.runtime.background import PeriodicTask, StartupTask
from services.chassis.runtime.errors import ChangedSettingError
from services.chassis.runtime.health import Health
from services.chassis.runtime.lifecycle import Service
from services.chassis.security.audit import AuditLog
from services.chassis.security.revocations import Revocations
from services.chassis.security.sites import Sites
from services.chassis.security.tokens import Token
from services.topics import AUTH_REVOCATIONS, AUTH_SITES, SUBJECTS_BY_SCHEMA

ENCRYPTION_KEY_SETTING = "AUTH_KEY_ENCRYPTION_KEY"
MAX_KEY_CHECK_INTERVAL_S = 30.0
# A new key starts to sign this many refresh periods of the verifiers after every replica of auth has published it.
REFRESH_PERIODS_BEFORE_SIGNING = 2
PUBLISH_INTERVAL_S = 60.0
# Timestamps are microseconds in topics, and floating-point seconds in the store.
TIMESTAMP_TOLERANCE_S = 0.000_01
ATTEMPT_WINDOW_S = 60.0
DAY_S = 86_400

# In characters that need no escaping.
new_id = partial(secrets.token_hex, 16)
new_secret = partial(secrets.token_urlsafe, 32)


class PublishedState:
    """Contents of auth's own topics, and the tables that read them."""

    def __init__(self, settings: AuthSettings, schemas: Schemas) -> None:
        self.sites, self.revocations = Sites(schemas), Revocations(schemas)
        self.sites_table = CompactedTable(settings, AUTH_SITES.name, self.sites.apply, client_id="auth")
        self.revocations_table = CompactedTable(
            settings, AUTH_REVOCATIONS.name, self.revocations.apply, client_id="auth"
        )


async def build(settings: AuthSettings) -> Service:
    """Build the service; it is not started."""
    schemas = await load_schemas(settings.schemas_dir, settings, SUBJECTS_BY_SCHEMA)
    mongo = Mongo.connect(settings)
    producer = Producer(settings, client_id="auth")
    broker_clock = BrokerClock(producer, max_offset_s=settings.kafka_max_clock_offset_s)
    published = PublishedState(settings, schemas)
    now = broker_clock.now_s
    keys, signer = build_key_rotation(settings, mongo, now=now)
    introspector = build_introspector(settings, signer, published, now=now)
    publisher = KafkaPublisher(producer, schemas)
    own_management = build_management(mongo, publisher, Argon2Hasher(), now=now, actor="auth", source="auth")
    tokens = build_tokens(
        settings, own_management, signer, introspector, revoked_before=published.revocations.issued_before
    )
    startup = StartupTask([partial(verify_encryption_key, settings, mongo), partial(create_indexes, mongo)])
    health = Health()
    # Issuing tokens needs no Kafka; while it is away the clock cannot be checked and counts as right.
    health.ready_when("clock", lambda: not broker_clock.is_wrong)
    health.ready_when("signing key", lambda: signer.ready)
    return Service(
        name="auth",
        health=health,
        components=[
            operations_server(health, host=settings.operations_host, port=settings.operations_port),
            mongo,
            producer,
            broker_clock,
            published.sites_table,
            published.revocations_table,
            startup,
            PeriodicTask(
                "signing keys",
                partial(ensure_current_key, keys),
                interval_s=key_check_interval_s(settings),
                start_when=lambda: startup.is_done,
            ),
            *build_republishing(published, own_management),
            *build_http(
                settings,
                tokens,
                own_management,
                keys,
                key_set=signer.key_set,
                verify=introspector.verify_admin,
                manage_when=lambda: startup.is_done,
            ),
        ],
    )


def build_key_rotation(
    settings: AuthSettings, mongo: Mongo, *, now: Callable[[], float]
) -> tuple[KeyRotationDeps, JwtSigner]:
    """Build key rotation, and the signer that it gives the keys to."""
    wrapper = KeyWrapper(settings.encryption_key, settings.auth_algorithm)
    signer = JwtSigner(wrapper.unwrap, settings.auth_algorithm, now=now)
    verifier_refresh_s = REFRESH_PERIODS_BEFORE_SIGNING * settings.auth_jwks_refresh_s
    deps = KeyRotationDeps(
        keys=MongoKeyStore(mongo),
        generator=wrapper,
        signer=signer,
        audit=AuditLog(),
        lifetime_s=settings.signing_key_lifetime_days * DAY_S,
        activation_delay_s=verifier_refresh_s + key_check_interval_s(settings),
        algorithm=settings.auth_algorithm,
        now=now,
    )
    return deps, signer


async def verify_encryption_key(settings: AuthSettings, mongo: Mongo) -> None:
    """Check that the stored signing keys were encrypted with the configured key, and the next ones will be.

    Raises `ChangedSettingError`, `UnavailableError`.
    """
    wrapper = KeyWrapper(settings.encryption_key, settings.auth_algorithm)
    try:
        for key in await MongoKeyStore(mongo).all():
            wrapper.unwrap(key)
    except KeyDecryptionError:
        raise ChangedSettingError(ENCRYPTION_KEY_SETTING) from None
    await verify_keys(mongo, {ENCRYPTION_KEY_SETTING: settings.encryption_key})


def key_check_interval_s(settings: AuthSettings) -> float:
    """Return the interval at which a replica loads the keys: the longest delay until it publishes another's key."""
    return min(MAX_KEY_CHECK_INTERVAL_S, settings.auth_jwks_refresh_s / 2)


def build_introspector(
    settings: AuthSettings, signer: JwtSigner, published: PublishedState, *, now: Callable[[], float]
) -> JwtIntrospector:
    """Build the verifier of auth's own tokens."""
    return JwtIntrospector(
        issuer=settings.auth_issuer,
        algorithm=settings.auth_algorithm,
        key_set=signer.key_set,
        is_revoked=published.revocations.is_revoked,
        revocations_loaded=lambda: (
            published.revocations_table.ready
            and not (
                settings.auth_refuse_when_stale
                and published.revocations_table.staleness_s > settings.auth_max_staleness_s
            )
        ),
        now=now,
    )


def build_tokens(
    settings: AuthSettings,
    shared: ManagementDeps,
    signer: JwtSigner,
    introspector: JwtIntrospector,
    *,
    revoked_before: Callable[[str], float],
) -> TokenDeps:
    """Build the dependencies of the OAuth endpoints, which use the same stores and the same hasher as management."""
    return TokenDeps(
        clients=shared.clients,
        hasher=shared.hasher,
        signer=signer,
        introspector=introspector,
        revocations=shared.revocations,
        revoked_before=revoked_before,
        publisher=shared.publisher,
        audit=shared.audit,
        failed_attempts=RateLimit(window_s=ATTEMPT_WINDOW_S),
        issuer=settings.auth_issuer,
        allow_query_secrets=settings.allow_query_secrets,
        now=shared.now,
        new_id=shared.new_id,
    )


def build_management(
    mongo: Mongo, publisher: KafkaPublisher, hasher: Argon2Hasher, *, now: Callable[[], float], actor: str, source: str
) -> ManagementDeps:
    """Build the dependencies of managing sites and clients, in the name of `actor`."""
    return ManagementDeps(
        sites=MongoSiteStore(mongo),
        clients=MongoClientStore(mongo),
        revocations=MongoRevocationStore(mongo),
        hasher=hasher,
        publisher=publisher,
        audit=AuditLog(),
        now=now,
        new_id=new_id,
        new_secret=new_secret,
        actor=actor,
        source=source,
    )


def build_republishing(published: PublishedState, deps: ManagementDeps) -> list[PeriodicTask]:
    """Build the tasks that publish stored sites and revocations that the topics lack."""

    def is_published(revocation: Revocation) -> bool:
        if revocation.token_id is not None:
            return published.revocations.has_token(revocation.token_id)
        issued_before = published.revocations.issued_before(revocation.client_id or "")
        return issued_before >= (revocation.issued_before or 0) - TIMESTAMP_TOLERANCE_S

    return [
        PeriodicTask(
            "sites",
            partial(management.publish_missing_sites, published.sites.get, deps),
            interval_s=PUBLISH_INTERVAL_S,
            start_when=lambda: published.sites_table.ready,
        ),
        PeriodicTask(
            "revocations",
            partial(management.publish_missing_revocations, is_published, deps),
            interval_s=PUBLISH_INTERVAL_S,
            start_when=lambda: published.revocations_table.ready,
        ),
    ]


def build_http(
    settings: AuthSettings,
    tokens: TokenDeps,
    own_management: ManagementDeps,
    keys: KeyRotationDeps,
    *,
    key_set: Callable[[], dict[str, object]],
    verify: Callable[[str], Awaitable[Token]],
    manage_when: Callable[[], bool],
) -> list[HttpServer]:
    """Build the public server, and the admin server if it has a port; that changes nothing until `manage_when()`."""
    proxies = parse_networks(settings.trusted_proxies)
    openapi = settings.schemas_dir / "openapi"
    public = oauth.build_routes(
        tokens,
        key_set=key_set,
        proxies=proxies,
        public_url=settings.auth_public_url or settings.auth_issuer,
        openapi=openapi / "auth.yaml",
    )
    servers = [HttpServer(build_application(public), host=settings.http_host, port=settings.http_port)]
    if settings.admin_port is not None:
        deps = AdminDeps(
            tokens=tokens,
            management=own_management,
            keys=keys,
            verify=verify,
            manage_when=manage_when,
            proxies=proxies,
            openapi=openapi / "auth-admin.yaml",
        )
        application = build_application(admin.build_routes(deps))
        servers.append(HttpServer(application, host=settings.admin_host, port=settings.admin_port))
    return servers
