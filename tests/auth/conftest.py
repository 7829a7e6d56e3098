from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from aiohttp.test_utils import TestClient, TestServer

from services.auth.adapters.introspector import JwtIntrospector
from services.auth.adapters.key_wrapper import KeyWrapper
from services.auth.adapters.signer import JwtSigner
from services.auth.adapters.stores import create_indexes
from services.auth.domain.audience import SCOPES
from services.auth.domain.client import Client, Secret
from services.auth.domain.signing import SigningKey
from services.auth.domain.source_address import parse_networks
from services.auth.flows.key_rotation import KeyRotationDeps, ensure_current_key
from services.auth.flows.tokens import TokenDeps
from services.auth.http import oauth
from services.auth.ports import ClientStore
from services.chassis.http.ratelimit import RateLimit
from services.chassis.http.server import build_application
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.settings import MongoSettings
from tests.auth.fakes import (
    Clock,
    Counter,
    FakeAuditLog,
    FakeClientStore,
    FakeHasher,
    FakeKeyStore,
    FakePublisher,
    FakeRevocationStore,
)

ISSUER = "https://test.tillstream.example"
OPENAPI = Path(__file__).parents[2] / "schemas" / "openapi" / "auth.yaml"
ENCRYPTION_KEY = b"k" * 32
SECRET = "canary-secret-of-the-client"

Opened = Callable[..., AbstractAsyncContextManager[TestClient]]  # type: ignore[type-arg] # aiohttp's own generic


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


class AuthFixture:
    """Auth with a virtual clock: real signing, glass hashes, stores in memory."""

    def __init__(self, clients: ClientStore, *, allow_query_secrets: bool = True) -> None:
        self.clock = Clock()
        self.audit = FakeAuditLog()
        self.hasher = FakeHasher()
        self.clients = clients
        vault = KeyWrapper(ENCRYPTION_KEY, "RS256")
        self.signer = JwtSigner(vault.unwrap, "RS256", now=self.clock)
        self.key_rotation = KeyRotationDeps(
            keys=FakeKeyStore(),
            generator=vault,
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
            is_revoked=lambda token: token.token_id in {one.token_id for one in self.publisher.revocations},
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
            new_id=Counter(),
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


@pytest.fixture(scope="session")
async def first_key() -> SigningKey:
    """A real key pair: they take long to make."""
    made_at = int(Clock().at)
    return await KeyWrapper(ENCRYPTION_KEY, "RS256").generate(number=1, created_at=made_at, signs_from=made_at)


@pytest.fixture
async def auth(first_key: SigningKey) -> AuthFixture:
    """Auth with one client and its keys."""
    clients = FakeClientStore()
    await clients.save(a_client())
    made = AuthFixture(clients)
    await made.key_rotation.keys.add(first_key)
    await ensure_current_key(made.key_rotation)
    return made


@pytest.fixture(params=["motor", "pymongo"])
async def mongo(request: pytest.FixtureRequest, mongodb_uri: str) -> AsyncIterator[Mongo]:
    """An empty database of our own, through each driver."""
    settings = MongoSettings(
        mongodb_uri=mongodb_uri,
        mongodb_database=f"auth-{uuid4().hex[:12]}",
        mongo_driver=request.param,
    )
    opened = Mongo.connect(settings)
    await create_indexes(opened)
    yield opened
    await opened.client.drop_database(settings.mongodb_database)
    await opened.close()
