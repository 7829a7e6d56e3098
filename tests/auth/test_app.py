"""The composition root: periodic publishing of what the topics lack, and the settings of rate limits."""

import base64
from dataclasses import dataclass
from time import time
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from aiohttp.test_utils import TestClient, TestServer
from msgspec import structs
from pydantic import SecretStr

from services.auth import app, cli, wire
from services.auth.adapters.introspector import JwtIntrospector
from services.auth.adapters.key_wrapper import KeyWrapper
from services.auth.adapters.publisher import KafkaPublisher
from services.auth.adapters.secret_hasher import Argon2Hasher
from services.auth.adapters.stores import MongoKeyStore
from services.auth.domain.audience import ADMIN
from services.auth.domain.revocation import client_revocation, token_id_revocation
from services.auth.flows import management
from services.auth.settings import AuthSettings
from services.chassis.http.server import HttpServer
from services.chassis.kafka.broker_clock import BrokerClock
from services.chassis.kafka.producer import Producer
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.background import PeriodicTask, StartupTask
from services.chassis.runtime.errors import ChangedSettingError, UnavailableError
from services.chassis.security.revocations import Revocations
from services.chassis.security.sites import Sites
from services.chassis.security.tokens import Token
from tests.auth.harness import SCHEMAS, SITE, ManagementHarness, apply_sites

ADMIN_HEADERS = {"Authorization": "Bearer a.b.c", "Content-Type": "application/json"}


@dataclass
class FakeTable:
    """A compacted table: only whether it has read its topic, and when it last did."""

    ready: bool = False
    staleness_s: float = 0.0


class Republishing:
    """The periodic tasks, with topics that hold what the test applies to them."""

    def __init__(self, harness: ManagementHarness) -> None:
        self.sites, self.sites_table = Sites(SCHEMAS), FakeTable()
        self.revocations, self.revocations_table = Revocations(SCHEMAS), FakeTable()
        published: Any = SimpleNamespace(**vars(self))
        self.sites_task, self.revocations_task = app.build_republishing(published, harness.deps)


@pytest.fixture
def republishing(harness: ManagementHarness) -> Republishing:
    return Republishing(harness)


async def run(task: PeriodicTask) -> None:
    """Run the task once; it must succeed or wait for its table."""
    assert await task.run_once() in {1.0, app.PUBLISH_INTERVAL_S}


async def test_revocations_that_the_topic_lacks_are_published_once_it_was_read(
    harness: ManagementHarness, republishing: Republishing
) -> None:
    """Also a later one of the same client. Fractions of microseconds make no difference."""
    harness.clock.at += 0.123_456_3

    async def published() -> list[str]:
        before = len(harness.publisher.revocations)
        await run(republishing.revocations_task)
        fresh = harness.publisher.revocations[before:]
        for revocation in fresh:
            value = wire.encode_revocation(revocation, SCHEMAS["revocation"])
            republishing.revocations.apply(revocation.key.encode(), value)
        return [revocation.key for revocation in fresh]

    now = harness.clock.at
    for revocation in (client_revocation("c", now=now), token_id_revocation("t", now=now)):
        await harness.revocations.save(revocation)
    assert await published() == []
    republishing.revocations_table.ready = True
    assert await published() == ["c", "t"]
    assert await published() == []
    harness.clock.at += 1
    await harness.revocations.save(client_revocation("c", now=harness.clock.at))
    assert await published() == ["c"]


async def test_sites_that_the_topic_lacks_are_published_once_it_was_read(
    harness: ManagementHarness, republishing: Republishing
) -> None:
    """Every field takes part in the comparison: a site that has arrived is not published over and over."""
    site = structs.replace(SITE, time_zone="Europe/Paris", records_per_second=7, invoice_email="books@shop.example")

    async def published() -> list[str]:
        before = len(harness.publisher.sites)
        await run(republishing.sites_task)
        fresh = harness.publisher.sites[before:]
        apply_sites(republishing.sites, fresh)
        return [each.name for each in fresh]

    await management.save_site(site, harness.deps)
    assert await published() == []
    republishing.sites_table.ready = True
    assert await published() == ["Demo"]
    assert await published() == []
    await management.save_site(structs.replace(site, name="Renamed"), harness.deps)
    assert await published() == ["Renamed"]


async def test_failed_tries_are_counted_for_a_minute() -> None:
    settings = auth_settings()
    mongo, unused = Mongo.connect(settings), Mock()
    publisher = KafkaPublisher(Producer(settings, client_id="test"), SCHEMAS)
    management_deps = app.build_management(mongo, publisher, Argon2Hasher(), now=time, actor="a", source="s")
    deps = app.build_tokens(settings, management_deps, unused, unused, revoked_before=lambda _client: 0.0)
    attempts = [deps.failed_attempts.acquire("client|address", limit=10) for _ in range(11)]
    assert [attempt.allowed for attempt in attempts] == [True] * 10 + [False]
    assert 55 <= attempts[-1].retry_after_s <= 60
    await mongo.close()


async def test_tokens_and_management_share_one_hasher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the process has twice the concurrency and two caches."""
    built: list[Argon2Hasher] = []

    def build_hasher() -> Argon2Hasher:
        built.append(Argon2Hasher())
        return built[-1]

    monkeypatch.setattr(app, "Argon2Hasher", build_hasher)
    service = await app.build(auth_settings(admin_port=0))
    assert len(built) == 1
    for component in service.components:
        if isinstance(component, Mongo):
            await component.stop()


def auth_settings(key: bytes = bytes(32), **changes: Any) -> AuthSettings:
    return AuthSettings(auth_key_encryption_key=SecretStr(base64.b64encode(key).decode()), **changes)


async def test_auth_starts_only_with_the_key_that_encrypted_the_signing_keys(mongo: Mongo) -> None:
    await app.verify_encryption_key(auth_settings(), mongo)
    with pytest.raises(ChangedSettingError, match="AUTH_KEY_ENCRYPTION_KEY"):
        await app.verify_encryption_key(auth_settings(b"n" * 32), mongo)
    await app.verify_encryption_key(auth_settings(), mongo)


async def test_signing_keys_that_were_restored_without_a_check_value_are_one_themselves(mongo: Mongo) -> None:
    """Also those of an algorithm that is no longer used."""
    key = await KeyWrapper(bytes(32), "ES256").generate(number=1, created_at=0, signs_from=0)
    assert await MongoKeyStore(mongo).add(key)
    with pytest.raises(ChangedSettingError):
        await app.verify_encryption_key(auth_settings(b"n" * 32), mongo)
    await app.verify_encryption_key(auth_settings(), mongo)


async def test_an_operators_rotation_with_another_key_adds_none(mongo: Mongo) -> None:
    """The running replicas could not decrypt it, and would load no key at all."""
    await app.verify_encryption_key(auth_settings(), mongo)
    with pytest.raises(ChangedSettingError):
        await cli._rotate(auth_settings(b"n" * 32), mongo, now=time)
    assert await MongoKeyStore(mongo).all() == []


async def test_no_signing_key_is_added_before_the_encryption_key_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    rotations: list[object] = []

    async def rotate(deps: object) -> None:
        rotations.append(deps)

    monkeypatch.setattr(app, "ensure_current_key", rotate)
    service = await app.build(auth_settings())
    (task,) = (part for part in service.components if isinstance(part, PeriodicTask) and part._name == "signing keys")
    (startup,) = (part for part in service.components if isinstance(part, StartupTask))
    await task.run_once()
    assert not rotations
    startup.is_done = True
    await task.run_once()
    assert len(rotations) == 1


@pytest.mark.parametrize(
    ("refuse", "staleness_s", "lacking"),
    [(True, 31.0, "Kafka"), (True, 29.0, "the signing key"), (False, 31.0, "the signing key")],
)
async def test_auth_itself_takes_no_token_that_may_have_been_revoked(
    mongo: Mongo, *, refuse: bool, staleness_s: float, lacking: str
) -> None:
    settings = auth_settings(auth_refuse_when_stale=refuse, auth_max_staleness_s=30.0)
    _, signer = app.build_key_rotation(settings, mongo, now=time)
    published: Any = app.PublishedState(settings, SCHEMAS)
    published.revocations_table = FakeTable(ready=True, staleness_s=staleness_s)
    introspector = app.build_introspector(settings, signer, published, now=time)
    with pytest.raises(UnavailableError) as unavailable:
        await introspector.introspect("a.b.c")
    assert unavailable.value.dependency == lacking


async def test_every_part_of_auth_reads_the_brokers_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens, revocations, keys and the tokens that auth itself verifies."""
    clocks: dict[str, object] = {}

    def record_clock(name: str) -> None:
        original = getattr(app, name)

        def build(*arguments: Any, **options: Any) -> Any:
            built = original(*arguments, **options)
            now: Any = options.get("now", getattr(built, "now", None))
            clocks[name] = now.__self__
            return built

        monkeypatch.setattr(app, name, build)

    for name in ("build_tokens", "build_management", "build_key_rotation", "build_introspector"):
        record_clock(name)
    service = await app.build(auth_settings())
    (broker_clock,) = (part for part in service.components if isinstance(part, BrokerClock))
    assert clocks == dict.fromkeys(clocks, broker_clock)
    assert len(clocks) == 4


async def test_no_site_is_stored_before_the_index_exists_that_gives_an_api_key_to_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def verify(_introspector: JwtIntrospector, _token: str) -> Token:
        return Token(
            client_id="admin",
            site=0,
            api_keys=frozenset(),
            scopes=frozenset(ADMIN.scopes),
            issued_at=0,
            expires_at=1,
            token_id="t",
        )

    monkeypatch.setattr(JwtIntrospector, "verify_admin", verify)
    service = await app.build(auth_settings(admin_port=0))
    (startup,) = (part for part in service.components if isinstance(part, StartupTask))
    *_, admin = (part for part in service.components if isinstance(part, HttpServer))
    async with TestClient(TestServer(admin._runner.app)) as client:
        statuses = []
        for startup.is_done in (False, True):
            # An invalid site, so that no database is needed.
            async with client.put("/auth-admin/v1/sites/608", data=b"[]", headers=ADMIN_HEADERS) as response:
                statuses.append(response.status)
    assert statuses == [503, 400]
