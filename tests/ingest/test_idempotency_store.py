"""Idempotency keys of the import API in a real MongoDB, over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from services.chassis.http.idempotency import COLLECTION, IdempotencyKeys
from services.chassis.kafka.broker_clock import BrokerClock
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.background import StartupTask
from services.chassis.runtime.settings import MongoSettings
from services.ingest.adapters.idempotency_store import MongoIdempotencyStore
from services.ingest.app import build
from services.ingest.settings import Settings
from tests.chassis.eventually import until
from tests.ingest.client import ApiClient, import_api
from tests.ingest.fakes import order
from tests.support.insert_only_collection import InsertOnlyCollection

DATABASE = "ingest_keys"


def now() -> datetime:
    return datetime.now(UTC)


BODY = json.dumps([order()]).encode()


@pytest.fixture
async def mongo(mongodb_uri: str) -> AsyncIterator[Mongo]:
    mongo = Mongo.connect(MongoSettings(mongodb_uri=mongodb_uri, mongodb_database=DATABASE))
    yield mongo
    await mongo.client.drop_database(DATABASE)
    await mongo.close()


@pytest.fixture
async def client(mongo: Mongo) -> AsyncIterator[ApiClient]:
    async with import_api(
        idempotency=MongoIdempotencyStore(IdempotencyKeys(mongo, scope="omnichannel-api", now=now))
    ) as client:
        yield client


async def test_a_request_sent_again_gets_its_first_answer(client: ApiClient) -> None:
    headers = {"Idempotency-Key": "again"}
    first = await client.send([order()], headers=headers)
    again = await client.send([order()], headers=headers)
    assert (first.status, again.status) == (202, 202)
    assert again.body == first.body
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotent-replayed"] == "true"
    assert len(client.publisher.jobs) == 1
    assert (await client.send([order()])).json["jobId"] != first.json["jobId"], "without the key it is another job"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 202),
        ({"query": "?mode=offline"}, 422),
        ({"user": "u1"}, 422),
        ({"kind": "returns"}, 422),
        ({"token": "orders"}, 202),
    ],
)
async def test_a_key_stands_for_one_request_of_one_client(
    client: ApiClient, changes: dict[str, str], status: int
) -> None:
    headers = {"Idempotency-Key": f"one {changes}"}
    assert (await client.send([order()], headers=headers)).status == 202
    response = await client.send([order()], headers=headers, **changes)
    assert response.status == status


async def test_a_key_stands_for_one_address(client: ApiClient) -> None:
    """Two API keys of a site: their records have different channels."""
    responses = [
        await client.call(
            "POST", f"/omnichannel/api/v1/{api_key}/orders", data=BODY, headers={"Idempotency-Key": "one"}
        )
        for api_key in ("12345", "a%2Fb", "12345")
    ]
    assert [response.status for response in responses] == [202, 422, 202]


async def test_keys_are_forgotten_after_a_day(mongo: Mongo, mongodb_uri: str) -> None:
    """The service creates the index when it starts."""
    settings = Settings(mongodb_uri=SecretStr(mongodb_uri), mongodb_database=DATABASE)
    components = (await build(settings)).components
    (startup,) = (component for component in components if isinstance(component, StartupTask))
    await startup.start()
    await until(lambda: startup.is_done)
    for component in components:
        if isinstance(component, Mongo | StartupTask):
            await component.stop()
    indexes = await mongo.collection(COLLECTION).index_information()
    assert indexes["reserved_at_1"]["expireAfterSeconds"] == 86_400


@pytest.mark.parametrize(
    ("records", "is_unavailable", "status", "code"),
    [(1, False, 202, ""), (1, True, 503, "BROKER_UNAVAILABLE"), (2, False, 429, "RATE_LIMITED")],
    ids=["done", "unknown", "refused"],
)
async def test_the_answer_is_what_became_of_the_request_where_it_cannot_be_kept(
    records: int, status: int, code: str, mongo: Mongo, monkeypatch: pytest.MonkeyPatch, *, is_unavailable: bool
) -> None:
    keys = IdempotencyKeys(mongo, scope="omnichannel-api", now=now)
    monkeypatch.setattr(keys, "_keys", InsertOnlyCollection(mongo.collection(COLLECTION)))
    async with import_api(idempotency=MongoIdempotencyStore(keys), records_per_second=2) as client:
        await client.rate_limiter.acquire("608", limit=2)
        client.publisher.is_unavailable = is_unavailable
        body = [order(id=str(number)) for number in range(records)]
        response = await client.send(body, headers={"Idempotency-Key": "k"})
        assert (response.status, response.code) == (status, code)
        assert ("jobId" in response.json) == (status != 429)


async def test_an_unknown_outcome_keeps_the_job_for_the_retry(client: ApiClient) -> None:
    headers = {"Idempotency-Key": "unknown"}
    client.publisher.is_unavailable = True
    unknown = await client.send([order()], headers=headers)
    assert unknown.status == 503
    client.publisher.is_unavailable = False
    again = await client.send([order()], headers=headers)
    assert (again.status, again.json["jobId"]) == (202, unknown.json["jobId"])
    assert "idempotent-replayed" not in again.headers, "it is the first response"


async def test_who_comes_while_the_first_runs_is_told_to_wait(client: ApiClient) -> None:
    headers = {"Idempotency-Key": "running"}
    client.publisher.gate = asyncio.Event()
    first = asyncio.create_task(client.send([order()], headers=headers))
    await until(lambda: any("Charged" in repr(entry) for entry in client.journal))
    second = await client.send([order()], headers=headers)
    assert (second.status, second.code) == (409, "IDEMPOTENCY_IN_PROGRESS")
    assert 1 <= int(second.headers["retry-after"]) <= 30
    client.publisher.gate.set()
    assert (await first).status == 202


async def test_a_refused_request_leaves_its_key_free(client: ApiClient) -> None:
    headers = {"Idempotency-Key": "refused"}
    await client.send([order(id=str(n)) for n in range(99)])
    assert (await client.send([order(), order(id="o2")], headers=headers)).status == 429
    client.rate_limiter.now += 1
    assert (await client.send(b"[", headers=headers)).status == 400
    assert (await client.send([order(id="another")], headers=headers)).status == 202


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "ü"])
async def test_a_key_that_cannot_be_kept_is_refused(client: ApiClient, key: str) -> None:
    response = await client.send([order()], headers={"Idempotency-Key": key})
    assert (response.status, response.code) == (400, "INVALID_IDEMPOTENCY_KEY")
    assert client.publisher.jobs == []


async def test_the_longest_key_is_taken(client: ApiClient) -> None:
    assert (await client.send([order()], headers={"Idempotency-Key": "x" * 255})).status == 202


async def test_keys_are_dated_by_the_brokers_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """F20. Breaks: the local clock is a day behind. MongoDB would remove at once what that had dated."""
    made: list[dict[str, Any]] = []

    class RecordingKeys(IdempotencyKeys):
        def __init__(self, mongo: Mongo, **options: Any) -> None:
            made.append(options)
            super().__init__(mongo, **options)

    monkeypatch.setattr("services.ingest.app.IdempotencyKeys", RecordingKeys)
    monkeypatch.setattr(BrokerClock, "now_s", lambda _: 1e9)
    await build(Settings())
    assert made[0]["now"]() == datetime.fromtimestamp(1e9, UTC)
