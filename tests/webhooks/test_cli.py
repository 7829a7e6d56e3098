"""The operator's command that re-encrypts endpoints' secrets, on MongoDB."""

import asyncio
import base64
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from pymongo import MongoClient
from typer.testing import CliRunner, Result

from services.chassis.mongodb.client import Mongo
from services.chassis.mongodb.key_check import verify_key_ids
from services.chassis.runtime.errors import ChangedSettingError
from services.chassis.runtime.settings import MongoSettings
from services.chassis.security.keyed_cipher import parse_keys
from services.webhooks import cli
from services.webhooks.adapters.endpoint_store import MongoEndpointStore
from services.webhooks.adapters.secret_sealer import ENCRYPTION_KEYS, AesSecretSealer
from services.webhooks.domain.endpoint import Endpoint, SealedSecret
from tests.support.audit_log import FakeAuditLog
from tests.webhooks.events import NOON_US, SITE

OLD, NEW = (base64.b64encode(letter * 32).decode() for letter in (b"o", b"n"))
SECRETS = (b"first" * 7, b"second" * 6)


class Installation:
    """A database with endpoints whose secrets are sealed with the old key."""

    def __init__(self, uri: str, name: str) -> None:
        self._settings = MongoSettings(mongodb_uri=uri, mongodb_database=name)

    async def add(self, count: int) -> None:
        sealer = AesSecretSealer(parse_keys(OLD))
        async with Mongo.connect(self._settings) as mongo:
            await verify_key_ids(mongo, ENCRYPTION_KEYS, sealer.key_ids)
            store = MongoEndpointStore(mongo, now_us=lambda: NOON_US)
            for number in range(count):
                first, second = (sealer.seal(f"e{number}", secret) for secret in SECRETS)
                sealed = (first, SealedSecret(second.key_id, second.ciphertext, expires_us=NOON_US))
                url = "https://shop.example/"
                assert await store.add(
                    Endpoint(id=f"e{number}", site=SITE, url=url, created_us=0, secrets=sealed, position=0)
                )

    async def open(self, keys: str) -> list[tuple[bytes, int | None]]:
        """All secrets, with when they expire."""
        sealer = AesSecretSealer(parse_keys(keys))
        async with Mongo.connect(self._settings) as mongo:
            found = await MongoEndpointStore(mongo, now_us=lambda: NOON_US).list_endpoints(SITE)
        return [(sealer.open(each.id, sealed), sealed.expires_us) for each in found for sealed in each.secrets]

    async def verify_keys(self, keys: str) -> None:
        """Raise `ChangedSettingError` if a service with these keys would not start."""
        async with Mongo.connect(self._settings) as mongo:
            await verify_key_ids(mongo, ENCRYPTION_KEYS, AesSecretSealer(parse_keys(keys)).key_ids)


@pytest.fixture
def database(mongodb_uri: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    name = f"t{uuid4().hex[:12]}"
    monkeypatch.setenv("MONGODB_URI", mongodb_uri)
    monkeypatch.setenv("MONGODB_DATABASE", name)
    client: MongoClient[Any] = MongoClient(mongodb_uri)
    yield client[name]
    client.drop_database(name)
    client.close()


@pytest.fixture
def installation(mongodb_uri: str, database: Any) -> Installation:
    return Installation(mongodb_uri, database.name)


@pytest.fixture
def audit_log(monkeypatch: pytest.MonkeyPatch) -> FakeAuditLog:
    fake = FakeAuditLog()
    monkeypatch.setattr(cli, "AuditLog", lambda: fake)
    return fake


@pytest.fixture
def reseal(audit_log: FakeAuditLog, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Result]:
    del audit_log

    def run(keys: str) -> Result:
        monkeypatch.setenv(ENCRYPTION_KEYS, keys)
        return CliRunner().invoke(cli.webhooks, ["reseal"])

    return run


def test_every_secret_is_resealed_under_the_first_key(
    installation: Installation,
    database: Any,
    audit_log: FakeAuditLog,
    reseal: Callable[[str], Result],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Then the old key may be removed. Each secret still expires when it did."""
    monkeypatch.setattr(cli, "BATCH_SIZE", 2)
    asyncio.run(installation.add(5))
    with pytest.raises(ChangedSettingError):
        asyncio.run(installation.verify_keys(NEW))
    assert reseal(f"{NEW},{OLD}").output == "the secrets of 5 endpoints resealed\n"
    assert reseal(f"{NEW},{OLD}").output == "the secrets of 0 endpoints resealed\n"
    (key_id,) = database.webhook_endpoints.distinct("secrets.key_id")
    noted = {"action": "secrets-resealed", "actor": "operator", "source": "command line", "key": key_id}
    assert audit_log.lines == [{**noted, "endpoints": count} for count in (5, 0)]
    assert asyncio.run(installation.open(NEW)) == [(SECRETS[0], None), (SECRETS[1], NOON_US)] * 5
    asyncio.run(installation.verify_keys(NEW))


def test_a_secret_whose_key_is_missing_is_not_changed(
    installation: Installation, database: Any, reseal: Callable[[str], Result]
) -> None:
    asyncio.run(installation.add(1))
    before = list(database.webhook_endpoints.find())
    done = reseal(NEW)
    assert done.exit_code == 1
    assert "which WEBHOOKS_ENCRYPTION_KEYS lacks" in done.output
    assert list(database.webhook_endpoints.find()) == before
    with pytest.raises(ChangedSettingError):
        asyncio.run(installation.verify_keys(NEW))


async def test_a_secret_that_is_rotated_meanwhile_is_kept(mongodb_uri: str, database: Any) -> None:
    """Breaks: the owner rotates between the read and the write. Must hold: the new secret stays."""
    await Installation(mongodb_uri, database.name).add(1)
    old, new = AesSecretSealer(parse_keys(OLD)), AesSecretSealer(parse_keys(f"{NEW},{OLD}"))
    async with Mongo.connect(MongoSettings(mongodb_uri=mongodb_uri, mongodb_database=database.name)) as mongo:
        store = MongoEndpointStore(mongo, now_us=lambda: NOON_US)
        (before,) = await store.find_sealed_with_other_keys(new.key_id, limit=10)
        database.webhook_endpoints.update_one(
            {}, {"$push": {"secrets": {"key_id": old.key_id, "ciphertext": b"x", "expires_us": None}}}
        )
        assert not await store.replace_secrets(before, new.reseal(before))
        (again,) = await store.find_sealed_with_other_keys(new.key_id, limit=10)
    assert len(again.secrets) == 3
