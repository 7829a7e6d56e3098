"""Nobody is let in before everything is known by which callers are judged: a real broker, a real issuer."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from aiokafka import AIOKafkaProducer

from sandbox.kafka import KafkaCluster
from services.chassis.avro.schemas import Schemas
from services.chassis.http.server import HttpServer, build_application
from services.chassis.kafka.topic import Topic
from services.chassis.runtime.errors import UnauthorizedError, UnavailableError
from services.chassis.runtime.health import Health
from services.chassis.runtime.lifecycle import Component
from services.chassis.runtime.settings import TokenSettings
from services.chassis.security.access import RequestSecurity
from tests.chassis.eventually import until
from tests.chassis.kafka.kafka_fixtures import a_name, frozen_broker, make_topics, settings
from tests.chassis.security.test_revocations import record as a_revocation
from tests.chassis.security.test_sites import record as a_site
from tests.chassis.security.token_fixtures import AUDIENCE, ISSUER, KEY, a_token, jwk, key_set

SCHEMAS = Schemas.load(Path(__file__).parents[3] / "schemas")


@asynccontextmanager
async def running(*parts: Component) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for part in parts:
            await part.start()
            stack.push_async_callback(part.stop)
        yield


def an_issuer() -> HttpServer:
    async def keys(_request: web.Request) -> web.Response:
        return web.Response(body=key_set(jwk(KEY, "k1")), content_type="application/json")

    return HttpServer(build_application([web.get("/keys", keys)]), host="127.0.0.1", port=0)


async def fill_topic(bootstrap: str, topic: Topic, records: Sequence[tuple[bytes, bytes]]) -> None:
    """The topic, with these records in it."""
    await make_topics(bootstrap, {topic.name: 1}, config={"cleanup.policy": "compact"})
    await publish(bootstrap, topic, records)


async def publish(bootstrap: str, topic: Topic, records: Sequence[tuple[bytes, bytes]]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        for key, value in records:
            await producer.send_and_wait(topic.name, key=key, value=value)


@pytest.mark.parametrize(("first", "second"), [("sites", "revocations"), ("revocations", "sites")])
async def test_a_token_is_good_once_keys_sites_and_revocations_are_known(
    kafka_bootstrap: str, first: str, second: str
) -> None:
    sites, revocations = (
        Topic(name=a_name(stem), key=(), schema=None, written_by=(), read_by=()) for stem in ("sites", "revocations")
    )
    now = int(time.time())
    good, revoked = (a_token(iat=now, exp=now + 600, jti=token_id) for token_id in ("good", "revoked"))
    holding = {
        "sites": (sites, [a_site(608, "12345")]),
        "revocations": (revocations, [(b"", a_revocation(token="revoked", until=now + 600))]),
    }
    issuer, health = an_issuer(), Health()
    async with running(issuer):
        access = RequestSecurity(
            SCHEMAS,
            kafka=settings(kafka_bootstrap),
            tokens=TokenSettings(auth_issuer=ISSUER, auth_jwks_url=f"http://{issuer.address}/keys"),
            sites=sites,
            revocations=revocations,
            audience=AUDIENCE,
            client_id="test",
            now=time.time,
        )
        access.register_health_checks(health)

        def lacking() -> set[str]:
            return {name for name, holds in health.readiness().items() if not holds}

        assert lacking() == {"keys", "sites", "revocations"}
        async with running(*access.components):
            await until(lambda: lacking() == {"sites", "revocations"})
            with pytest.raises(UnavailableError):
                await access.verifier.verify(good)
            await fill_topic(kafka_bootstrap, *holding[first])
            await until(lambda: lacking() == {second})
            with pytest.raises(UnavailableError):
                await access.verifier.verify(good)
            await fill_topic(kafka_bootstrap, *holding[second])
            await until(lambda: not lacking())
            assert access.sites.get(608) is not None
            assert (await access.verifier.verify(good)).token_id == "good"
            with pytest.raises(UnauthorizedError):
                await access.verifier.verify(revoked)


@pytest.mark.parametrize("refuse", [False, True])
async def test_a_service_cut_off_from_kafka_is_not_ready_after_a_bound(
    own_kafka: KafkaCluster, *, refuse: bool
) -> None:
    """Breaks: the broker is frozen. Must hold: not ready after the bound; a setting decides about tokens.

    Afterwards what was revoked meanwhile is known again.
    """
    sites, revocations = (
        Topic(name=a_name(stem), key=(), schema=None, written_by=(), read_by=()) for stem in ("sites", "revocations")
    )
    now = int(time.time())
    token = a_token(iat=now, exp=now + 600, jti="cut-off")
    request = make_mocked_request("GET", "/", headers={"Authorization": f"Bearer {token}"})
    bootstrap = own_kafka.bootstrap_servers
    await fill_topic(bootstrap, sites, [a_site(608, "12345")])
    await fill_topic(bootstrap, revocations, [])
    issuer, health = an_issuer(), Health()
    async with running(issuer):
        access = RequestSecurity(
            SCHEMAS,
            kafka=settings(bootstrap),
            tokens=TokenSettings(
                auth_issuer=ISSUER,
                auth_jwks_url=f"http://{issuer.address}/keys",
                auth_max_staleness_s=2.0,
                auth_refuse_when_stale=refuse,
            ),
            sites=sites,
            revocations=revocations,
            audience=AUDIENCE,
            client_id="test",
            now=time.time,
        )
        access.register_health_checks(health)
        async with running(*access.components):
            await until(lambda: all(health.readiness().values()))
            assert await access.authenticator.token(request)
            async with frozen_broker(own_kafka.brokers[0]):
                await until(lambda: not health.readiness()["sites"] and not health.readiness()["revocations"])
                if refuse:
                    with pytest.raises(UnavailableError):
                        await access.authenticator.token(request)
                else:
                    assert await access.authenticator.token(request)
            await until(lambda: all(health.readiness().values()), deadline_s=30)
            assert await access.authenticator.token(request)
            await publish(bootstrap, revocations, [(b"", a_revocation(token="cut-off", until=now + 600))])
            await until(lambda: is_refused(access, request), deadline_s=5)


async def is_refused(access: RequestSecurity, request: web.Request) -> bool:
    try:
        await access.authenticator.token(request)
    except UnauthorizedError:
        return True
    return False
