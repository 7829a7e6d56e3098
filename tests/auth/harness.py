"""Auth's flows with a virtual clock and fakes behind them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp.test_utils import TestClient, TestServer

from services.auth.adapters.introspector import JwtIntrospector
from services.auth.adapters.key_wrapper import KeyWrapper
from services.auth.adapters.signer import JwtSigner
from services.auth.domain.audience import SCOPES
from services.auth.domain.client import Client, Secret
from services.auth.flows.key_rotation import KeyRotationDeps
from services.auth.flows.management import ManagementDeps
from services.auth.flows.tokens import TokenDeps
from services.auth.http import oauth
from services.auth.ports import ClientStore
from services.chassis.avro.records import encode_record
from services.chassis.avro.schemas import Schemas
from services.chassis.http.rate_limit import RateLimit
from services.chassis.http.server import build_application
from services.chassis.http.source_address import parse_networks
from services.chassis.security.sites import Sites
from services.values.sites import ApiKey, Site
from tests.auth.fakes import (
    Clock,
    FakeClientStore,
    FakeHasher,
    FakeKeyStore,
    FakePublisher,
    FakeRevocationStore,
    FakeSiteStore,
    IdSequence,
)
from tests.support.audit_log import FakeAuditLog

ISSUER = "https://test.tillstream.example"
SCHEMAS_DIR = Path(__file__).parents[2] / "schemas"
SCHEMAS = Schemas.load(SCHEMAS_DIR)
OPENAPI = SCHEMAS_DIR / "openapi" / "auth.yaml"
ENCRYPTION_KEY = b"k" * 32
SECRET = "canary-secret-of-the-client"
SITE = Site(
    site=608,
    name="Demo",
    app_id=1078,
    root_source="omnichannel-api/qa",
    datacenter="qa",
    api_keys=(ApiKey(api_key="12345", channel="web"),),
)


def a_client(**changes: object) -> Client:
    fields: dict[str, object] = {
        "client_id": "client-1",
        "site": 608,
        "api_keys": ("12345",),
        "scopes": SCOPES,
        "secrets": (Secret(secret_id="s1", hash=f"hash of {SECRET}", created_at=0),),
        **changes,
    }
    return Client(**fields)  # type: ignore[arg-type]


def apply_sites(topic: Sites, published: list[Site]) -> None:
    """Apply published sites as a service that reads the topic does."""
    for site in published:
        topic.apply(str(site.site).encode(), encode_record(site.to_fields(), SCHEMAS["site"]))


class AuthHarness:
    """The OAuth endpoints: real signing, readable hashes, stores in memory."""

    def __init__(self, clients: ClientStore, *, allow_query_secrets: bool = True) -> None:
        self.clock = Clock()
        self.audit = FakeAuditLog()
        self.hasher = FakeHasher()
        self.clients = clients
        wrapper = KeyWrapper(ENCRYPTION_KEY, "RS256")
        self.signer = JwtSigner(wrapper.unwrap, "RS256", now=self.clock)
        self.key_rotation = KeyRotationDeps(
            keys=FakeKeyStore(),
            generator=wrapper,
            signer=self.signer,
            audit=self.audit,
            lifetime_s=86_400,
            activation_delay_s=600,
            algorithm="RS256",
            now=self.clock,
        )
        self.publisher = FakePublisher()
        self.revocations = FakeRevocationStore()
        self.revocations_loaded = True
        self.introspector = JwtIntrospector(
            issuer=ISSUER,
            algorithm="RS256",
            key_set=self.signer.key_set,
            is_revoked=lambda token: token.token_id in {each.token_id for each in self.publisher.revocations},
            revocations_loaded=lambda: self.revocations_loaded,
            now=self.clock,
        )
        self.deps = TokenDeps(
            clients=clients,
            hasher=self.hasher,
            signer=self.signer,
            introspector=self.introspector,
            revocations=self.revocations,
            revoked_before=self.publisher.revoked_before,
            publisher=self.publisher,
            audit=self.audit,
            failed_attempts=RateLimit(window_s=60.0, clock=self.clock),
            issuer=ISSUER,
            allow_query_secrets=allow_query_secrets,
            now=self.clock,
            new_id=IdSequence(),
        )

    @asynccontextmanager
    async def over_http(self) -> AsyncIterator[TestClient]:  # type: ignore[type-arg] # aiohttp's own generic
        routes = oauth.build_routes(
            self.deps,
            key_set=self.signer.key_set,
            proxies=parse_networks("127.0.0.0/8"),
            public_url="https://front.example",
            openapi=OPENAPI,
        )
        async with TestClient(TestServer(build_application(routes))) as client:
            yield client


@dataclass
class ManagementHarness:
    """Management of sites and clients, and the fakes that it uses."""

    clock: Clock = field(default_factory=Clock)
    sites: FakeSiteStore = field(default_factory=FakeSiteStore)
    clients: FakeClientStore = field(default_factory=FakeClientStore)
    revocations: FakeRevocationStore = field(default_factory=FakeRevocationStore)
    hasher: FakeHasher = field(default_factory=FakeHasher)
    publisher: FakePublisher = field(default_factory=FakePublisher)
    audit: FakeAuditLog = field(default_factory=FakeAuditLog)
    ids: IdSequence = field(default_factory=IdSequence)

    @property
    def deps(self) -> ManagementDeps:
        return ManagementDeps(
            sites=self.sites,
            clients=self.clients,
            revocations=self.revocations,
            hasher=self.hasher,
            publisher=self.publisher,
            audit=self.audit,
            now=self.clock,
            new_id=self.ids,
            new_secret=lambda: f"canary-{len(self.hasher.hashed_secrets)}",
            actor="an operator",
            source="a terminal",
        )
