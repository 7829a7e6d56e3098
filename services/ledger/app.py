"""Composition root of the ledger."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import uuid4

from services import topics
from services.chassis.avro.registry_client import load_schemas
from services.chassis.http.server import HttpServer, build_application, operations_server
from services.chassis.kafka.consumer import Consumer
from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetters
from services.chassis.mongodb.key_check import verify_keys, verify_page_token_key
from services.chassis.runtime.background import PeriodicTask, StartupTask
from services.chassis.runtime.clock import now_us
from services.chassis.runtime.health import Health
from services.chassis.runtime.lifecycle import Service
from services.chassis.security.audit import AuditLog
from services.chassis.security.backing_services import BackingServices
from services.ledger.adapters.as_of import AsOf
from services.ledger.adapters.collections import create_indexes
from services.ledger.adapters.entries import MongoEntryReader
from services.ledger.adapters.erasures import MongoErasures
from services.ledger.adapters.ledger import MongoLedger
from services.ledger.adapters.publisher import MovementPublisher
from services.ledger.adapters.site_keys import SiteKeys
from services.ledger.adapters.sums import MongoSums
from services.ledger.adapters.turns import Turns
from services.ledger.adapters.zones import SiteZones
from services.ledger.background import Auditor, Drain, update_movement_gauges
from services.ledger.flows import audit, erase_user, expire_entries, queries, record_sales
from services.ledger.http.access import Access
from services.ledger.http.api import LedgerApi, PageTokens
from services.ledger.http.erasures import ErasureApi
from services.ledger.settings import Settings
from services.ledger.wire.movements import MovementEncoder
from services.ledger.wire.records import RecordReader
from services.ledger.worker import Worker
from services.topics import SUBJECTS_BY_SCHEMA

AUDIENCE = "ledger"
GROUP = "ledger"
POLL_TIMEOUT_MS = 50
AS_OF_INTERVAL_S = 2.0
# Each run writes the documents of all sums that change: the more movements it takes, the fewer writes.
FOLD_INTERVAL_S = 0.25
GAUGE_INTERVAL_S = 5.0
RETENTION_INTERVAL_S = 10.0
MAX_AUDIT_CHECK_INTERVAL_S = 60.0
OWN_TOPICS = (topics.ORDERS_VALIDATED.name, topics.RETURNS_VALIDATED.name)
UPSTREAM_TOPICS = (topics.ORDERS_SUBMITTED.name, topics.RETURNS_SUBMITTED.name)


async def build(settings: Settings) -> Service:
    """Build the service with all its components, not yet started."""
    schemas = await load_schemas(settings.schemas_dir, settings, SUBJECTS_BY_SCHEMA)
    backing = BackingServices(
        settings,
        schemas,
        name=GROUP,
        audience=AUDIENCE,
        sites=topics.AUTH_SITES,
        revocations=topics.AUTH_REVOCATIONS,
    )
    mongo, security, broker_clock = backing.mongo, backing.security, backing.broker_clock
    prepare = StartupTask(
        [
            partial(verify_keys, mongo, {"ERASURE_KEY": settings.erasure_secret}),
            partial(verify_page_token_key, mongo, settings.page_token_key, service=GROUP),
            partial(create_indexes, mongo),
        ]
    )
    site_keys = SiteKeys(settings.erasure_secret)
    zones = SiteZones(security.sites)

    def new_id() -> str:
        return uuid4().hex

    ledger = MongoLedger(
        mongo,
        now=broker_clock.now,
        user_fingerprint=site_keys.user_fingerprint,
    )
    sums = MongoSums(mongo)

    def is_prepared() -> bool:
        return prepare.is_done and broker_clock.is_known

    publisher = MovementPublisher(mongo, backing.producer, MovementEncoder(schemas))
    publish = Drain("publish", publisher.publish, start_when=is_prepared)

    async def fold_movements() -> bool:
        folded = await sums.fold()
        if folded.count:
            publish.wake()
        return folded.has_more

    fold = Drain("fold", fold_movements, start_when=is_prepared, interval_s=FOLD_INTERVAL_S)
    dead_letter_limit = DeadLetterLimit.from_settings(settings)
    worker = Worker(
        record_sales.Deps(
            ledger=ledger,
            zones=zones,
            site_key=site_keys.of_site,
            now_us=broker_clock.now_us,
            new_id=new_id,
        ),
        reader=RecordReader(schemas),
        dead_letters=DeadLetters(backing.producer, group=GROUP),
        dead_letter_limit=dead_letter_limit,
        add_partitions=ledger.add_partitions,
    )
    consumer = Consumer(
        settings,
        worker,
        group=GROUP,
        topics=list(OWN_TOPICS),
        client_id=GROUP,
        halted_partitions=lambda: dead_letter_limit.halted,
        # A site's books are kept in its time zone, so the sites must be loaded.
        start_when=lambda: security.sites_loaded and is_prepared(),
        poll_timeout_ms=POLL_TIMEOUT_MS,
    )
    erase_deps = erase_user.Deps(
        ledger=ledger,
        erasures=MongoErasures(mongo, user_fingerprint=site_keys.user_fingerprint),
        zones=zones,
        site_key=site_keys.of_site,
        now_us=broker_clock.now_us,
        new_id=new_id,
    )
    erase = Drain("erase", partial(erase_user.erase_pending, erase_deps), start_when=is_prepared)
    expire_deps = expire_entries.Deps(ledger=ledger, zones=zones, now=broker_clock.now, new_id=new_id)
    retention = timedelta(days=settings.ledger_retention_days)
    auditor = Auditor(
        audit.Deps(reports=sums, zones=zones, now_us=broker_clock.now_us),
        partial(Turns(mongo, now=broker_clock.now).take, "audit", interval_s=settings.ledger_audit_interval_s),
    )
    as_of = AsOf(
        settings,
        upstream=(settings.validator_group, UPSTREAM_TOPICS),
        own=(GROUP, OWN_TOPICS),
        client_id=GROUP,
        now_us=broker_clock.now_us,
    )
    access = Access(
        authenticator=security.authenticator,
        # With another key, an erasure would be stored under another fingerprint.
        is_started=lambda: prepare.is_done,
        rate_limit=backing.rate_limit,
        requests_per_second=settings.ledger_requests_per_second,
    )
    erasures = ErasureApi(deps=erase_deps, access=access, audit_log=AuditLog(), wake=erase.wake)
    api = build_api(
        queries.Deps(entries=MongoEntryReader(mongo), reports=sums, zones=zones, as_of_us=lambda: as_of.us),
        access,
        site_key=site_keys.of_site,
        page_token_key=settings.page_token_key.get_secret_value(),
        schemas_dir=settings.schemas_dir,
        now_us=broker_clock.now_us,
    )
    health = Health()
    health.ready_when("as-of", lambda: as_of.us is not None)
    backing.register_health_checks(health, prepare)
    health.live_while("consumer", lambda: consumer.alive)
    health.live_while("fold", lambda: fold.alive)
    health.live_while("publish", lambda: publish.alive)
    return Service(
        name="ledger",
        health=health,
        components=(
            operations_server(health, host=settings.operations_host, port=settings.operations_port),
            *backing.components(prepare),
            fold,
            publish,
            consumer,
            PeriodicTask("as-of", as_of.refresh, interval_s=AS_OF_INTERVAL_S, start_when=lambda: broker_clock.is_known),
            PeriodicTask(
                "pending-movements",
                partial(update_movement_gauges, sums, broker_clock.now_us),
                interval_s=GAUGE_INTERVAL_S,
                start_when=is_prepared,
            ),
            erase,
            PeriodicTask(
                "retention",
                partial(expire_entries.expire_entries, expire_deps, retention=retention),
                interval_s=RETENTION_INTERVAL_S,
                start_when=is_prepared,
            ),
            *(
                [
                    PeriodicTask(
                        "audit",
                        auditor.run,
                        interval_s=min(settings.ledger_audit_interval_s, MAX_AUDIT_CHECK_INTERVAL_S),
                        start_when=lambda: security.sites_loaded and is_prepared(),
                    )
                ]
                if settings.ledger_audit_interval_s
                else []
            ),
            HttpServer(
                build_application([*api.routes(), *erasures.routes()]), host=settings.http_host, port=settings.http_port
            ),
        ),
    )


def build_api(
    deps: queries.Deps,
    access: Access,
    *,
    site_key: Callable[[int], bytes],
    page_token_key: str,
    schemas_dir: Path,
    now_us: Callable[[], int] = now_us,
) -> LedgerApi:
    """Build the HTTP API alone."""
    return LedgerApi(
        deps=deps,
        access=access,
        tokens=PageTokens(page_token_key),
        site_key=site_key,
        now_us=now_us,
        openapi=schemas_dir / "openapi" / "ledger.yaml",
    )
