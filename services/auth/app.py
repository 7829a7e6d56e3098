"""Composition of auth: the only place where settings, flows and adapters meet."""

import secrets
import time
from collections.abc import Callable
from functools import partial

from services.auth import wire
from services.auth.adapters.introspector import JwtInspector
from services.auth.adapters.key_wrapper import KeyVault
from services.auth.adapters.publisher import KafkaPublisher
from services.auth.adapters.secret_hasher import ArgonHasher
from services.auth.adapters.signer import JwtSigner
from services.auth.adapters.stores import MongoClients, MongoKeys, MongoRevocations, MongoSites, create_indexes
from services.auth.domain.caller import networks
from services.auth.domain.revocation import Revocation
from services.auth.domain.site import Site
from services.auth.flows import management
from services.auth.flows.key_rotation import KeyWorld, tend_keys
from services.auth.flows.management import Office
from services.auth.flows.tokens import World
from services.auth.http import admin, oauth
from services.auth.http.admin import Administration
from services.auth.settings import AuthSettings
from services.chassis.avro.registry_client import load_schemas
from services.chassis.avro.schemas import Schemas
from services.chassis.http import server
from services.chassis.http.ratelimit import RateLimit
from services.chassis.kafka.compacted_table import CompactedTable
from services.chassis.kafka.producer import Producer
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.background import PeriodicTask
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.health import Health
from services.chassis.runtime.lifecycle import Service
from services.chassis.security.audit import AuditLog
from services.chassis.security.revocations import Revocations
from services.chassis.security.sites import Sites
from services.subjects import SUBJECTS_OF
from services.topics import AUTH_REVOCATIONS, AUTH_SITES

INDEXES_EVERY_S = 3_600.0
KEYS_EVERY_S = 30.0
# A new key signs this many refresh periods of the verifiers after all replicas of auth publish it.
PERIODS_AHEAD = 2
PUBLISH_EVERY_S = 60.0
# Topics have microseconds, the store floating seconds.
ROUNDING_S = 0.000_01
TRIES_WINDOW_S = 60.0
DAY_S = 86_400


def new_id() -> str:
    """An id that nobody can guess."""
    return secrets.token_hex(16)


def new_secret() -> str:
    """256 random bits, in letters that need no escaping anywhere."""
    return secrets.token_urlsafe(32)


def publisher_of(producer: Producer, schemas: Schemas) -> KafkaPublisher:
    """Sites and revocations to Kafka."""
    return KafkaPublisher(producer, site=schemas["site"], revocation=schemas["revocation"])


def office_of(mongo: Mongo, producer: Producer, schemas: Schemas, *, who: str, where: str) -> Office:
    """What managing sites and clients takes, in the name of `who`."""
    return Office(
        sites=MongoSites(mongo),
        clients=MongoClients(mongo),
        revocations=MongoRevocations(mongo),
        hasher=ArgonHasher(),
        publisher=publisher_of(producer, schemas),
        audit=AuditLog(),
        now=time.time,
        new_id=new_id,
        new_secret=new_secret,
        who=who,
        where=where,
    )


def tended_every_s(settings: AuthSettings) -> float:
    """How often each replica looks at the keys: how late it may be to publish one that another has added."""
    return min(KEYS_EVERY_S, settings.auth_jwks_refresh_s / 2)


def key_world(settings: AuthSettings, mongo: Mongo) -> tuple[KeyWorld, JwtSigner]:
    """What tending the signing keys takes, and the signer that uses them."""
    vault = KeyVault(settings.encryption_key, settings.auth_algorithm)
    signer = JwtSigner(vault.open, settings.auth_algorithm, now=time.time)
    world = KeyWorld(
        keys=MongoKeys(mongo),
        vault=vault,
        signer=signer,
        audit=AuditLog(),
        lifetime_s=settings.signing_key_lifetime_days * DAY_S,
        ahead_s=PERIODS_AHEAD * settings.auth_jwks_refresh_s + tended_every_s(settings),
        algorithm=settings.auth_algorithm,
        now=time.time,
    )
    return world, signer


def issuing_world(
    settings: AuthSettings,
    mongo: Mongo,
    publisher: KafkaPublisher,
    *,
    signer: JwtSigner,
    inspector: JwtInspector,
    revoked_before: Callable[[str], float],
) -> World:
    """What issuing and revoking tokens takes."""
    return World(
        clients=MongoClients(mongo),
        hasher=ArgonHasher(),
        signer=signer,
        inspector=inspector,
        revocations=MongoRevocations(mongo),
        revoked_before=revoked_before,
        publisher=publisher,
        audit=AuditLog(),
        failed_tries=RateLimit(window_s=TRIES_WINDOW_S),
        issuer=settings.auth_issuer,
        allow_query_secrets=settings.allow_query_secrets,
        now=time.time,
        new_id=new_id,
    )


async def compose(settings: AuthSettings) -> Service:
    """Auth as a process."""
    schemas = await load_schemas(settings.schemas_dir, settings, SUBJECTS_OF)
    mongo = Mongo.connect(settings)
    producer = Producer(settings, client_id="auth")
    sites = Sites(schemas)
    site_table = CompactedTable(settings, AUTH_SITES.name, sites.apply, client_id="auth")
    revocations = Revocations(schemas)
    revocation_table = CompactedTable(settings, AUTH_REVOCATIONS.name, revocations.apply, client_id="auth")
    keys, signer = key_world(settings, mongo)
    inspector = JwtInspector(
        issuer=settings.auth_issuer,
        algorithm=settings.auth_algorithm,
        key_set=signer.key_set,
        is_revoked=revocations.is_revoked,
        knows_revocations=lambda: revocation_table.ready,
        now=time.time,
    )
    world = issuing_world(
        settings,
        mongo,
        publisher_of(producer, schemas),
        signer=signer,
        inspector=inspector,
        revoked_before=revocations.issued_before,
    )
    own_office = office_of(mongo, producer, schemas, who="auth", where="auth")
    administration = Administration(
        world=world,
        office=own_office,
        keys=keys,
        verify=inspector.admitted,
        proxies=networks(settings.trusted_proxies),
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
            PeriodicTask("indexes", partial(create_indexes, mongo), interval_s=INDEXES_EVERY_S),
            PeriodicTask("signing keys", partial(tend_keys, keys), interval_s=tended_every_s(settings)),
            PeriodicTask("sites", partial(_publish_sites, site_table, sites, own_office), interval_s=PUBLISH_EVERY_S),
            PeriodicTask(
                "revocations",
                partial(_publish_revocations, revocation_table, revocations, own_office),
                interval_s=PUBLISH_EVERY_S,
            ),
            *_listeners(settings, world, signer, administration),
        ],
    )


def _listeners(
    settings: AuthSettings, world: World, signer: JwtSigner, administration: Administration
) -> list[server.HttpServer]:
    """The public port, and the internal one if there is to be one."""
    public = oauth.routes(
        world,
        key_set=signer.key_set,
        proxies=networks(settings.trusted_proxies),
        public_url=settings.auth_public_url or settings.auth_issuer,
        openapi=settings.schemas_dir / "openapi" / "auth.yaml",
    )
    listeners = [server.HttpServer(server.build_application(public), host=settings.http_host, port=settings.http_port)]
    if settings.admin_port is not None:
        internal = server.build_application(admin.routes(administration))
        listeners.append(server.HttpServer(internal, host=settings.admin_host, port=settings.admin_port))
    return listeners


async def _publish_revocations(table: CompactedTable, published: Revocations, own_office: Office) -> None:
    if not table.ready:
        raise UnavailableError("Kafka")

    def is_published(revocation: Revocation) -> bool:
        if revocation.token_id is not None:
            return published.has_token(revocation.token_id)
        return published.issued_before(revocation.client_id or "") >= (revocation.issued_before or 0) - ROUNDING_S

    await management.publish_missing_revocations(is_published, own_office)


async def _publish_sites(table: CompactedTable, published: Sites, own_office: Office) -> None:
    if not table.ready:
        raise UnavailableError("Kafka")

    def known(number: int) -> Site | None:
        site = published.get(number)
        return wire.published_site(site) if site else None

    await management.publish_missing(known, own_office)
