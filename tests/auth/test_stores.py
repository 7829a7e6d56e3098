"""One suite for the stores of MongoDB and the fakes."""

import dataclasses

import msgspec
import pytest
from msgspec.structs import replace

from services.auth.adapters.stores import (
    REVOCATIONS,
    MongoClientStore,
    MongoKeyStore,
    MongoRevocationStore,
    MongoSiteStore,
    create_indexes,
)
from services.auth.domain.client import Secret
from services.auth.domain.revocation import Revocation
from services.auth.domain.site import ApiKeyConflictError, StoredSite
from services.auth.ports import ClientStore, KeyStore, RevocationStore, SiteStore
from services.auth.wire import client_to_json, key_to_json
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import MongoSettings
from services.values.sites import ApiKey, Site
from tests.auth.fakes import FakeClientStore, FakeKeyStore, FakeRevocationStore, FakeSiteStore, a_key
from tests.auth.harness import a_client

# Far enough ahead that MongoDB does not delete the revocations during the test.
SOON = 4_000_000_000.0
SITE = Site(
    site=608,
    name="Demo",
    app_id=1078,
    root_source="omnichannel-api/qa",
    datacenter="qa",
    api_keys=(ApiKey(api_key="12345", channel="web"), ApiKey(api_key="12346")),
    invoice_email="books@shop.example",
)


class ClientsSuite:
    async def test_a_client_is_found_as_it_was_saved(self, clients: ClientStore) -> None:
        client = a_client(secrets=(Secret(secret_id="s", hash="$h", created_at=1, expires_at=2),))
        assert await clients.find("client-1") is None
        assert await clients.save(client)
        assert await clients.find("client-1") == dataclasses.replace(client, revision=1)

    async def test_numbers_of_any_size_can_be_shown(self, clients: ClientStore) -> None:
        """After 2038, too: MongoDB gives larger numbers back in a type of its own."""
        secret = Secret(secret_id="s", hash="$h", created_at=2**31, expires_at=2**31 + 1)
        await clients.save(a_client(site=2**31, secrets=(secret,)))
        found = await clients.find("client-1")
        assert found is not None
        assert msgspec.json.encode(client_to_json(found))

    async def test_of_two_changes_to_one_revision_the_first_wins(self, clients: ClientStore) -> None:
        await clients.save(a_client())
        assert not await clients.save(a_client(site=609))
        assert await clients.save(a_client(site=610, revision=1))
        assert not await clients.save(a_client(site=611, revision=1))
        assert await clients.find("client-1") == a_client(site=610, revision=2)

    async def test_what_was_never_there_cannot_change(self, clients: ClientStore) -> None:
        assert not await clients.save(a_client(revision=3))
        assert await clients.find("client-1") is None

    async def test_all_come_by_id(self, clients: ClientStore) -> None:
        for client_id in ("b", "a"):
            await clients.save(a_client(client_id=client_id))
        assert [client.client_id for client in await clients.all()] == ["a", "b"]


class SitesSuite:
    async def test_a_site_is_found_as_it_was_saved(self, sites: SiteStore) -> None:
        assert await sites.find(608) is None
        assert await sites.save(SITE, expected_revision=0)
        assert await sites.find(608) == StoredSite(SITE, revision=1)
        assert await sites.all() == [SITE]

    async def test_numbers_of_any_size_can_be_shown(self, sites: SiteStore) -> None:
        await sites.save(replace(SITE, site=2**31, app_id=2**63 - 1), expected_revision=0)
        assert msgspec.json.encode([site.to_fields() for site in await sites.all()])

    async def test_of_two_changes_to_one_revision_the_first_wins(self, sites: SiteStore) -> None:
        await sites.save(SITE, expected_revision=0)
        assert not await sites.save(replace(SITE, name="Second"), expected_revision=0)
        assert await sites.save(replace(SITE, name="Third"), expected_revision=1)
        assert not await sites.save(replace(SITE, name="Fourth"), expected_revision=1)
        assert await sites.find(608) == StoredSite(replace(SITE, name="Third"), revision=2)

    async def test_a_key_belongs_to_one_site(self, sites: SiteStore) -> None:
        await sites.save(SITE, expected_revision=0)
        other = replace(SITE, site=609, api_keys=(ApiKey(api_key="99"),))
        with_key = replace(other, api_keys=(ApiKey(api_key="12346"),))
        await sites.save(other, expected_revision=0)
        with pytest.raises(ApiKeyConflictError):
            await sites.save(replace(SITE, site=610), expected_revision=0)
        with pytest.raises(ApiKeyConflictError):
            await sites.save(with_key, expected_revision=1)
        assert await sites.save(replace(SITE, api_keys=(ApiKey(api_key="12345"),)), expected_revision=1)
        assert await sites.save(with_key, expected_revision=1)

    async def test_sites_without_keys_do_not_meet(self, sites: SiteStore) -> None:
        assert await sites.save(replace(SITE, api_keys=()), expected_revision=0)
        assert await sites.save(replace(SITE, site=609, api_keys=()), expected_revision=0)


class KeysSuite:
    async def test_one_key_takes_a_number(self, keys: KeyStore) -> None:
        assert await keys.add(a_key(2, signs_from=20))
        assert await keys.add(a_key(1, signs_from=10))
        assert not await keys.add(a_key(2, signs_from=30))
        assert await keys.all() == [a_key(1, signs_from=10), a_key(2, signs_from=20)]

    async def test_numbers_of_any_size_can_be_shown(self, keys: KeyStore) -> None:
        await keys.add(a_key(1, signs_from=2**31))
        assert msgspec.json.encode([key_to_json(key) for key in await keys.all()])


class RevocationsSuite:
    async def test_a_revocation_is_kept_as_it_is(self, revocations: RevocationStore) -> None:
        token = Revocation(token_id="t", until=SOON)
        client = Revocation(client_id="c", issued_before=SOON - 1.5, until=SOON)
        await revocations.save(token)
        await revocations.save(token)
        await revocations.save(client)
        assert await revocations.all() == [client, token]

    async def test_of_two_for_a_client_the_later_counts(self, revocations: RevocationStore) -> None:
        early, late = (Revocation(client_id="c", issued_before=at, until=at + 28_860) for at in (SOON, SOON + 1))
        await revocations.save(early)
        await revocations.save(late)
        await revocations.save(early)
        assert await revocations.all() == [late]


class TestFakeRevocations(RevocationsSuite):
    @pytest.fixture
    def revocations(self) -> FakeRevocationStore:
        return FakeRevocationStore()


class TestMongoRevocations(RevocationsSuite):
    @pytest.fixture
    def revocations(self, mongo: Mongo) -> MongoRevocationStore:
        return MongoRevocationStore(mongo)


class TestFakeClients(ClientsSuite):
    @pytest.fixture
    def clients(self) -> FakeClientStore:
        return FakeClientStore()


class TestMongoClients(ClientsSuite):
    @pytest.fixture
    def clients(self, mongo: Mongo) -> MongoClientStore:
        return MongoClientStore(mongo)


class TestFakeSites(SitesSuite):
    @pytest.fixture
    def sites(self) -> FakeSiteStore:
        return FakeSiteStore()


class TestMongoSites(SitesSuite):
    @pytest.fixture
    def sites(self, mongo: Mongo) -> MongoSiteStore:
        return MongoSiteStore(mongo)


class TestFakeKeys(KeysSuite):
    @pytest.fixture
    def keys(self) -> FakeKeyStore:
        return FakeKeyStore()


class TestMongoKeys(KeysSuite):
    @pytest.fixture
    def keys(self, mongo: Mongo) -> MongoKeyStore:
        return MongoKeyStore(mongo)


async def test_indexes_are_made_once(mongo: Mongo) -> None:
    await create_indexes(mongo)


async def test_the_database_deletes_a_revocation_that_has_expired(mongo: Mongo) -> None:
    indexes = await mongo.collection(REVOCATIONS).index_information()
    assert indexes["until_1"]["expireAfterSeconds"] == 0


async def test_a_store_that_does_not_answer_is_unavailable() -> None:
    nowhere = MongoSettings(
        mongodb_uri="mongodb://127.0.0.1:9/?directConnection=true",
        mongodb_timeout_ms=100,
    )
    mongo = Mongo.connect(nowhere)
    with pytest.raises(UnavailableError):
        await MongoClientStore(mongo).find("client-1")
    with pytest.raises(UnavailableError):
        await MongoKeyStore(mongo).add(a_key(1, signs_from=1))
    await mongo.close()
