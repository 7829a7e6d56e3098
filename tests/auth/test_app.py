"""What auth does by the clock – the topics are told what the store has and they have not – and what it is made of."""

import base64
from dataclasses import dataclass, replace

import pytest
from pydantic import SecretStr

from services.auth import app, wire
from services.auth.domain.revocation import client_revocation, token_id_revocation
from services.auth.flows import management
from services.auth.settings import AuthSettings
from services.chassis.kafka.producer import Producer
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.errors import UnavailableError
from services.chassis.security.revocations import Revocations
from services.chassis.security.sites import Sites
from tests.auth.test_management import SCHEMAS, SITE, ManagementFixture, feed


@dataclass
class Topic:
    """A table, as far as it is asked whether it has read all."""

    ready: bool = False


async def test_revocations_that_the_topic_lacks_are_published_once_it_was_read(desk: ManagementFixture) -> None:
    """Also a later one of the same client. Fractions of microseconds make no difference."""
    desk.clock.at += 0.123_456_3
    topic, known = Topic(), Revocations(SCHEMAS, now=desk.clock)

    async def published() -> list[str]:
        before = len(desk.publisher.revocations)
        await app._publish_revocations(topic, known, desk.deps)  # type: ignore[arg-type]
        fresh = desk.publisher.revocations[before:]
        for one in fresh:
            known.apply(one.key.encode(), wire.encode_revocation(one, SCHEMAS["revocation"]))
        return [one.key for one in fresh]

    for one in (client_revocation("c", now=desk.clock.at), token_id_revocation("t", now=desk.clock.at)):
        await desk.revocations.save(one)
    with pytest.raises(UnavailableError):
        await published()
    topic.ready = True
    assert await published() == ["c", "t"]
    assert await published() == []
    desk.clock.at += 1
    await desk.revocations.save(client_revocation("c", now=desk.clock.at))
    assert await published() == ["c"]


async def test_sites_that_the_topic_lacks_are_published_once_it_was_read(desk: ManagementFixture) -> None:
    """Whatever can be told of a site: what has arrived is not published over and over."""
    site = replace(SITE, time_zone="Europe/Paris", records_per_second=7, invoice_email="books@shop.example")
    topic, known = Topic(), Sites(SCHEMAS)

    async def published() -> list[str]:
        before = len(desk.publisher.sites)
        await app._publish_sites(topic, known, desk.deps)  # type: ignore[arg-type]
        fresh = desk.publisher.sites[before:]
        feed(known, fresh)
        return [site.name for site in fresh]

    await management.save_site(site, desk.deps)
    with pytest.raises(UnavailableError):
        await published()
    topic.ready = True
    assert await published() == ["Demo"]
    assert await published() == []
    await management.save_site(replace(site, name="Renamed"), desk.deps)
    assert await published() == ["Renamed"]


async def test_failed_tries_are_counted_for_a_minute() -> None:
    settings = AuthSettings(auth_key_encryption_key=SecretStr(base64.b64encode(bytes(32)).decode()))
    mongo = Mongo.connect(settings)
    _, signer = app.build_key_rotation(settings, mongo)
    world = app.build_tokens(
        settings,
        mongo,
        app.build_publisher(Producer(settings, client_id="test"), SCHEMAS),
        signer=signer,
        introspector=None,  # type: ignore[arg-type] # not asked
        revoked_before=lambda _client: 0.0,
    )
    tries = [world.failed_attempts.acquire("client|address", limit=10) for _ in range(11)]
    assert [tried.allowed for tried in tries] == [True] * 10 + [False]
    assert 55 <= tries[-1].retry_after_s <= 60
    await mongo.close()


@pytest.fixture
def desk() -> ManagementFixture:
    return ManagementFixture()
