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
from services.chassis.security.keyed_cipher import parse_keys
from services.portal.adapters.api_clients import RETRY, ApiClients
from services.portal.adapters.live_feed import LiveFeed, TooManyStreamsError
from services.portal.adapters.session_notifier import SessionChangeListener, SessionNotifier
from services.portal.adapters.session_store import ENCRYPTION_KEYS, MongoSessionStore
from services.portal.flows import sign_in
from services.portal.flows.failure_reports import FailureReports
from services.portal.http.cookies import Cookies
from services.portal.http.downloads import DownloadPages
from services.portal.http.forms import FormGuard
from services.portal.http.home import HomePages
from services.portal.http.jobs import JobPages
from services.portal.http.live import LivePages
from services.portal.http.not_found import NotFoundPages
from services.portal.http.pages import Pages, routes_of
from services.portal.http.rendering import Renderer
from services.portal.http.sign_in import SignInPages
from services.portal.http.static import StaticFiles
from services.portal.settings import Settings
from tillstream import RetryPolicy

COOKIE_BYTES = 32
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
        self.sessions = MongoSessionStore(self.mongo, parse_keys(settings.portal_encryption_keys.get_secret_value()))
        self.clients = ApiClients(settings.portal_api_url, settings.portal_admin_url, transport=transport, retry=retry)
        self.notifier = SessionNotifier(max_streams=settings.portal_max_streams)
        self.listener = SessionChangeListener(self.mongo, self.notifier, clock_s=time.monotonic)
        self.live = LiveFeed(self.clients.of, self.notifier)
        self.startup = StartupTask(
            [
                partial(verify_rotated_key_ids, self.mongo, ENCRYPTION_KEYS, list(self.sessions.key_ids)),
                self.sessions.create_indexes,
            ]
        )
        self.sign_in = sign_in.Deps(
            authority=self.clients,
            sessions=self.sessions,
            failures=RateLimit(window_s=FAILURE_WINDOW_S),
            max_failures=settings.portal_sign_ins_per_minute,
            audit=AuditLog(),
            now_us=now_us,
            new_secret=partial(secrets.token_urlsafe, COOKIE_BYTES),
            on_end=self.on_session_end,
        )
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

    def on_session_end(self, session_id: str) -> None:
        """Forget the tokens of a session, and end its streams here without waiting for the change stream."""
        self.clients.drop(session_id)
        self.notifier.notify([session_id])


async def build(settings: Settings) -> Service:
    """Build the service with all its components, not yet started."""
    components = Components(settings)
    health = Health()
    health.ready_when("mongodb", lambda: components.startup.is_done and components.mongo.ready)
    return Service(
        name="portal",
        health=health,
        components=(
            operations_server(health, host=settings.operations_host, port=settings.operations_port),
            components.mongo,
            components.startup,
            components.listener,
            components.clients,
            HttpServer(build_application(build_routes(components)), host=settings.http_host, port=settings.http_port),
            # Stopped first: streams end while the server still lets requests finish.
            components.live,
        ),
    )


def build_routes(components: Components) -> Sequence[web.RouteDef]:
    """Build all routes."""
    pages, reports = components.pages, FailureReports()
    return routes_of(
        SignInPages(pages).routes(),
        HomePages(pages, reports=reports, now_us=components.now_us).routes(),
        JobPages(pages, reports=reports).routes(),
        DownloadPages(pages).routes(),
        LivePages(pages, components.live, too_many=TooManyStreamsError, now_us=components.now_us).routes(),
        # Last: everything else.
        NotFoundPages(pages, components.static).routes(),
    )
