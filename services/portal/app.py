"""Composition root of the portal."""

import secrets
import time
from collections.abc import Callable, Sequence
from functools import partial

import httpx2
from aiohttp import web

from services.chassis.http.rate_limit import RateLimit
from services.chassis.http.server import HttpServer, build_application, operations_server
from services.chassis.http.source_address import parse_networks
from services.chassis.mongodb.client import Mongo
from services.chassis.mongodb.key_check import verify_rotated_key_ids
from services.chassis.runtime.background import StartupTask
from services.chassis.runtime.clock import now_us
from services.chassis.runtime.health import Health
from services.chassis.runtime.lifecycle import Service
from services.chassis.security.audit import AuditLog
from services.chassis.security.keyed_cipher import KeyedCipher, parse_keys
from services.portal.adapters.administration import HttpAdministration
from services.portal.adapters.api_caller import HttpApiCaller
from services.portal.adapters.api_clients import RETRY, ApiClients
from services.portal.adapters.api_documents import HttpApiDocuments
from services.portal.adapters.audit_trail import MongoAuditTrail
from services.portal.adapters.batch_log import MongoBatchLog
from services.portal.adapters.credential_vault import MongoCredentialVault
from services.portal.adapters.file_reader import LocalFileReader
from services.portal.adapters.import_runner import ThreadImportRunner, connect_to
from services.portal.adapters.import_store import MongoImportStore
from services.portal.adapters.live_feed import LiveFeed, TooManyStreamsError
from services.portal.adapters.mending_store import MongoColumnMemory, MongoDraftStore, MongoLinkStore
from services.portal.adapters.openid_issuer import HttpIssuer
from services.portal.adapters.operations import HttpOperations
from services.portal.adapters.pending_sign_ins import MongoPendingSignIns
from services.portal.adapters.registry import HttpRegistry
from services.portal.adapters.session_notifier import SessionChangeListener, SessionNotifier
from services.portal.adapters.session_store import ENCRYPTION_KEYS, MongoSessionStore
from services.portal.adapters.spool import LocalSpool
from services.portal.adapters.topics import describe_topics, load_examples
from services.portal.adapters.upload_store import MongoUploadStore
from services.portal.background import ImportWorker
from services.portal.domain.openid import parse_clients
from services.portal.domain.session import Session
from services.portal.flows import (
    developers,
    openid_sign_in,
    prepare_files,
    run_imports,
    sign_in,
    start_imports,
    upload_files,
)
from services.portal.flows.failure_reports import FailureReports
from services.portal.http.codes import CodePages
from services.portal.http.cookies import Cookies
from services.portal.http.developers import DeveloperPages
from services.portal.http.downloads import DownloadPages
from services.portal.http.endpoints import EndpointPages
from services.portal.http.events import EventPages
from services.portal.http.file_runs import FileRunPages
from services.portal.http.file_settings import FileSettingsPages
from services.portal.http.files import FilePages
from services.portal.http.forms import FormGuard
from services.portal.http.home import HomePages
from services.portal.http.invoices import InvoicePages
from services.portal.http.jobs import JobPages
from services.portal.http.kafka_topics import KafkaPages
from services.portal.http.live import LivePages
from services.portal.http.mending import MendingPages
from services.portal.http.not_found import NotFoundPages
from services.portal.http.openid import CALLBACK, OpenIdPages
from services.portal.http.operations import OperationsPages
from services.portal.http.operator import SitePages
from services.portal.http.operator_clients import ClientPages
from services.portal.http.pages import SIGN_IN, Pages, routes_of
from services.portal.http.rendering import Renderer
from services.portal.http.reports import ReportPages
from services.portal.http.sign_in import SignInPages
from services.portal.http.static import StaticFiles
from services.portal.http.users import UserPages
from services.portal.settings import Settings
from tillstream import RetryPolicy

COOKIE_BYTES = 32
UPLOAD_ID_BYTES = 16
FAILURE_WINDOW_S = 60.0


class Components:
    """Components that several parts of the service share."""

    def __init__(
        self,
        settings: Settings,
        *,
        now_us: Callable[[], int] = now_us,
        transport: httpx2.AsyncBaseTransport | None = None,
        retry: RetryPolicy = RETRY,
    ) -> None:
        """Tests pass a clock of their own, and a `transport` instead of the APIs."""
        self.settings = settings
        self.now_us = now_us
        self.mongo = Mongo.connect(settings)
        keys = parse_keys(settings.portal_encryption_keys.get_secret_value())
        self.sessions = MongoSessionStore(self.mongo, keys)
        self.pending = MongoPendingSignIns(self.mongo, keys)
        self.trail = MongoAuditTrail(self.mongo, now_us=now_us, days=settings.portal_audit_days)
        self.clients = ApiClients(
            settings.portal_api_url,
            settings.portal_admin_url,
            operator_url=settings.portal_operator_url,
            transport=transport,
            retry=retry,
        )
        self.notifier = SessionNotifier(max_streams=settings.portal_max_streams)
        self.listener = SessionChangeListener(self.mongo, self.notifier, clock_s=time.monotonic)
        self.live = LiveFeed(self.clients.of, self.notifier)
        self.files = FileComponents(self.mongo, settings, keys, now_us=now_us)
        self.developers = developers.Deps(
            documents=HttpApiDocuments(self.clients.connect, clock_s=time.monotonic),
            caller=HttpApiCaller(self.clients.connect, self.clients.of, self.clients.admin_of),
            registry=HttpRegistry(self.clients.connect),
            audit=AuditLog(),
            trail=self.trail,
            base_url=settings.portal_url,
        )
        self.startup = StartupTask(
            [
                partial(verify_rotated_key_ids, self.mongo, ENCRYPTION_KEYS, list(self.sessions.key_ids)),
                self.sessions.create_indexes,
                self.pending.create_indexes,
                self.trail.create_indexes,
                *self.files.create_indexes,
            ]
        )
        self.sign_in = sign_in.Deps(
            authority=self.clients,
            sessions=self.sessions,
            failures=RateLimit(window_s=FAILURE_WINDOW_S),
            max_failures=settings.portal_sign_ins_per_minute,
            audit=AuditLog(),
            trail=self.trail,
            now_us=now_us,
            new_secret=partial(secrets.token_urlsafe, COOKIE_BYTES),
            on_end=self.on_session_end,
        )
        self.openid = None if settings.oidc_issuer is None else OpenIdComponents(settings, self.pending, self.sign_in)
        is_https = settings.portal_url.startswith("https:")
        self.static = StaticFiles()
        self.pages = Pages(
            sessions_deps=self.sign_in,
            client_of=self.clients.of,
            renderer=Renderer(self.static),
            cookies=Cookies(is_https=is_https),
            guard=FormGuard(settings.portal_url),
            proxies=parse_networks(settings.trusted_proxies),
            is_https=is_https,
            is_started=lambda: self.startup.is_done,
        )

    def administration_of(self, session: Session) -> HttpAdministration:
        """Return the admin API with the token of an operator's session."""
        return HttpAdministration(self.clients.admin_of(session))

    def operations_of(self, session: Session) -> HttpOperations:
        """Return the operators' API with the token of an operator's session."""
        client = self.clients.operator_of(session)
        return HttpOperations(client, admin_url=self.settings.portal_admin_url or "")

    def on_session_end(self, session_id: str) -> None:
        """Forget the tokens of a session, and end its streams here without waiting for the change stream."""
        self.clients.drop(session_id)
        self.notifier.notify([session_id])


class OpenIdComponents:
    """Components for signing in by OpenID Connect."""

    def __init__(self, settings: Settings, pending: MongoPendingSignIns, sign_in_deps: sign_in.Deps) -> None:
        issuer_url = settings.oidc_issuer or ""
        self.issuer = HttpIssuer(issuer_url, settings.oidc_client_id, settings.oidc_client_secret.get_secret_value())
        self._name = settings.oidc_name
        self.deps = openid_sign_in.Deps(
            issuer=self.issuer,
            pending=pending,
            sign_in=sign_in_deps,
            issuer_url=issuer_url,
            client_id=settings.oidc_client_id,
            scopes=settings.oidc_scopes,
            claim=settings.oidc_claim,
            clients=parse_clients(settings.oidc_clients.get_secret_value()),
            redirect_uri=settings.portal_url + CALLBACK,
            signed_out_uri=f"{settings.portal_url}{SIGN_IN}?reason=signed-out",
            new_secret=partial(secrets.token_urlsafe, COOKIE_BYTES),
        )

    def pages(self, pages: Pages) -> OpenIdPages:
        """Build the pages."""
        return OpenIdPages(pages, self.deps, name=self._name)


class FileComponents:
    """Components for files that are imported and for records that are mended."""

    def __init__(self, mongo: Mongo, settings: Settings, keys: Sequence[bytes], *, now_us: Callable[[], int]) -> None:
        cipher = KeyedCipher(keys, setting=ENCRYPTION_KEYS, subject="a credential")
        self.uploads = MongoUploadStore(mongo, now_us=now_us)
        self.imports = MongoImportStore(mongo, now_us=now_us)
        self.log = MongoBatchLog(mongo)
        self.vault = MongoCredentialVault(mongo, cipher)
        self.drafts = MongoDraftStore(mongo, now_us=now_us)
        self.links = MongoLinkStore(mongo, now_us=now_us)
        self.memory = MongoColumnMemory(mongo, now_us=now_us)
        self.spool = LocalSpool(settings.portal_spool_dir, self.uploads)
        self.reader = LocalFileReader(self.spool, self.log)
        stores = (self.uploads, self.imports, self.log, self.vault, self.drafts, self.links, self.memory)
        self.create_indexes = [store.create_indexes for store in stores]
        self.upload_deps = upload_files.Deps(
            uploads=self.uploads,
            now_us=now_us,
            new_id=partial(secrets.token_hex, UPLOAD_ID_BYTES),
            quota_bytes=settings.portal_quota_mb << 20,
            days=settings.portal_file_days,
        )
        run_deps = run_imports.Deps(
            imports=self.imports,
            uploads=self.uploads,
            log=self.log,
            credentials=self.vault,
            links=self.links,
            spool=self.spool,
            runner=ThreadImportRunner(self.log, connect=connect_to(settings.portal_api_url)),
            now_us=now_us,
        )
        self.worker = ImportWorker(run_deps, capacity=settings.portal_max_imports)
        self.start_deps = start_imports.Deps(
            imports=self.imports, credentials=self.vault, spool=self.spool, now_us=now_us, wake=self.worker.wake
        )
        self.prepare_deps = prepare_files.Deps(uploads=self.uploads, reader=self.reader, memory=self.memory)

    def routes(self, pages: Pages, *, now_us: Callable[[], int]) -> list[web.RouteDef]:
        """Build the routes of files and of mending."""
        return routes_of(
            FilePages(pages, self.upload_deps, self.imports).routes(),
            FileRunPages(
                pages,
                imports=self.imports,
                uploads=self.uploads,
                log=self.log,
                reader=self.reader,
                start_deps=self.start_deps,
            ).routes(),
            FileSettingsPages(
                pages,
                uploads=self.upload_deps,
                prepare_deps=self.prepare_deps,
                start_deps=self.start_deps,
                imports=self.imports,
            ).routes(),
            MendingPages(pages, drafts=self.drafts, links=self.links, now_us=now_us).routes(),
        )


async def build(settings: Settings) -> Service:
    """Build the service with all its components, not yet started."""
    components = Components(settings)
    health = Health()
    health.ready_when("mongodb", lambda: components.startup.is_done and components.mongo.ready)
    health.live_while("imports", lambda: components.files.worker.alive)
    return Service(
        name="portal",
        health=health,
        components=(
            operations_server(health, host=settings.operations_host, port=settings.operations_port),
            components.mongo,
            components.startup,
            components.listener,
            components.clients,
            *([] if components.openid is None else [components.openid.issuer]),
            components.files.spool,
            components.files.worker,
            HttpServer(build_application(build_routes(components)), host=settings.http_host, port=settings.http_port),
            # Stopped first: streams end while the server still lets requests finish.
            components.live,
        ),
    )


def build_routes(components: Components) -> Sequence[web.RouteDef]:
    """Build all routes."""
    pages, reports = components.pages, FailureReports()
    openid = None if components.openid is None else components.openid.pages(pages)
    return routes_of(
        SignInPages(pages, openid).routes(),
        [] if openid is None else openid.routes(),
        HomePages(pages, reports=reports, now_us=components.now_us).routes(),
        JobPages(pages, components.files.links, reports=reports).routes(),
        DownloadPages(pages).routes(),
        components.files.routes(pages, now_us=components.now_us),
        UserPages(pages).routes(),
        ReportPages(pages, now_us=components.now_us).routes(),
        CodePages(pages).routes(),
        InvoicePages(pages).routes(),
        LivePages(pages, components.live, too_many=TooManyStreamsError, now_us=components.now_us).routes(),
        EventPages(pages, now_us=components.now_us).routes(),
        EndpointPages(pages).routes(),
        DeveloperPages(pages, components.developers).routes(),
        KafkaPages(
            pages, components.developers.registry, describe_topics(), load_examples(components.settings.schemas_dir)
        ).routes(),
        SitePages(
            pages,
            components.administration_of,
            now_us=components.now_us,
            grafana_url=components.settings.portal_grafana_url,
        ).routes(),
        ClientPages(pages, components.administration_of).routes(),
        OperationsPages(
            pages,
            components.operations_of,
            components.trail,
            has_api=components.settings.portal_operator_url is not None,
            grafana_url=components.settings.portal_grafana_url,
        ).routes(),
        # Last: everything else.
        NotFoundPages(pages, components.static).routes(),
    )
