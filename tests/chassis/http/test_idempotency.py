"""Idempotency keys in MongoDB, with either driver."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from services.chassis.http.idempotency import (
    COLLECTION,
    LEASE_S,
    RETENTION_S,
    IdempotencyKeys,
    Reservation,
    StoredResponse,
    idempotency_key,
)
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.errors import Problem
from services.chassis.runtime.settings import MongoSettings
from tests.support.insert_only_collection import InsertOnlyCollection

RESPONSE = StoredResponse(202, b'{"id": 1}', {"Location": "/1"})


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 3, 4, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["motor", "pymongo"])
async def keys(request: pytest.FixtureRequest, mongodb_uri: str, clock: Clock) -> AsyncIterator[IdempotencyKeys]:
    settings = MongoSettings(
        mongodb_uri=mongodb_uri, mongodb_database=f"t{uuid4().hex[:12]}", mongo_driver=request.param
    )
    mongo = Mongo.connect(settings)
    made = IdempotencyKeys(mongo, scope="test", now=clock)
    await made.create_indexes()
    yield made
    await mongo.client.drop_database(settings.mongodb_database)
    await mongo.close()


async def reserve(
    keys: IdempotencyKeys, body: bytes = b"body", *, client: str = "c", key: str = "k"
) -> Reservation | StoredResponse:
    return await keys.reserve(client, key, body, lambda: uuid4().hex)


async def refusal(keys: IdempotencyKeys, body: bytes = b"body") -> Problem:
    with pytest.raises(Problem) as refused:
        await reserve(keys, body)
    return refused.value


async def reserved(keys: IdempotencyKeys, **how: str) -> Reservation:
    found = await reserve(keys, **how)  # type: ignore[arg-type]
    assert isinstance(found, Reservation)
    return found


async def test_the_first_answer_is_given_again(keys: IdempotencyKeys) -> None:
    await keys.complete(await reserved(keys), RESPONSE)
    assert [await reserve(keys) for _ in range(2)] == [RESPONSE, RESPONSE]


async def test_another_body_is_a_conflict_before_and_after(keys: IdempotencyKeys) -> None:
    first = await reserved(keys)
    assert (await refusal(keys, b"other")).code == "IDEMPOTENCY_CONFLICT"
    await keys.complete(first, RESPONSE)
    assert (await refusal(keys, b"other")).status == 422


async def test_who_comes_meanwhile_waits(keys: IdempotencyKeys, clock: Clock) -> None:
    """Not for the whole lease: nearly every first request ends within a second."""
    await reserved(keys)
    for passed_s in (0, LEASE_S - 5):
        clock.now += timedelta(seconds=passed_s)
        found = await refusal(keys)
        assert (found.status, found.code, found.headers["Retry-After"]) == (409, "IDEMPOTENCY_IN_PROGRESS", "1")


async def test_who_comes_after_a_crash_goes_on_with_the_same_id(keys: IdempotencyKeys, clock: Clock) -> None:
    first = await reserved(keys)
    clock.now += timedelta(seconds=LEASE_S + 1)
    second = await reserved(keys)
    assert (second.resource_id, second.is_retry, first.is_retry) == (first.resource_id, True, False)
    # Nobody else gets in while the second is at it.
    assert (await refusal(keys)).status == 409


async def test_of_many_at_once_one_goes_on(keys: IdempotencyKeys, clock: Clock) -> None:
    for _ in range(2):
        found = await asyncio.gather(*(reserve(keys) for _ in range(20)), return_exceptions=True)
        assert sum(isinstance(one, Reservation) for one in found) == 1
        assert all(isinstance(one, Reservation) or (isinstance(one, Problem) and one.status == 409) for one in found)
        clock.now += timedelta(seconds=LEASE_S + 1)


async def test_an_unknown_outcome_can_be_retried_at_once(keys: IdempotencyKeys, clock: Clock) -> None:
    first = await reserved(keys)
    await keys.release_for_retry(first)
    clock.now += timedelta(milliseconds=1)
    assert (await reserved(keys)).resource_id == first.resource_id


async def test_a_refusal_frees_the_key(keys: IdempotencyKeys) -> None:
    await keys.discard(await reserved(keys))
    assert isinstance(await reserve(keys, b"other"), Reservation)


async def test_a_refused_retry_keeps_its_id(keys: IdempotencyKeys, clock: Clock) -> None:
    first = await reserved(keys)
    clock.now += timedelta(seconds=LEASE_S + 1)
    await keys.discard(await reserved(keys))
    clock.now += timedelta(seconds=1)
    assert (await reserved(keys)).resource_id == first.resource_id


async def test_who_was_overtaken_changes_nothing_any_more(keys: IdempotencyKeys, clock: Clock) -> None:
    """Neither its refusal nor its doubt frees the key of the next request, and of two answers the first is kept."""
    first = await reserved(keys)
    clock.now += timedelta(seconds=LEASE_S + 1)
    second = await reserved(keys)
    for late in (keys.release_for_retry, keys.discard):
        await late(first)
        assert (await refusal(keys)).status == 409
    await keys.complete(second, RESPONSE)
    await keys.complete(first, StoredResponse(500, b"", {}))
    await keys.discard(first)
    assert await reserve(keys) == RESPONSE


async def test_who_went_on_can_be_followed_at_once_when_its_outcome_is_unknown_too(
    keys: IdempotencyKeys, clock: Clock
) -> None:
    first = await reserved(keys)
    clock.now += timedelta(seconds=LEASE_S + 1)
    await keys.release_for_retry(await reserved(keys))
    clock.now += timedelta(milliseconds=1)
    assert (await reserved(keys)).resource_id == first.resource_id


async def test_a_reservation_that_cannot_be_ended_expires(
    keys: IdempotencyKeys, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await reserved(keys)
    with monkeypatch.context() as patch:
        patch.setattr(keys, "_keys", InsertOnlyCollection(keys._keys))
        await keys.complete(first, RESPONSE)
        await keys.release_for_retry(first)
        await keys.discard(first)
    assert (await refusal(keys)).status == 409
    clock.now += timedelta(seconds=LEASE_S + 1)
    again = await reserved(keys)
    assert (again.resource_id, again.is_retry) == (first.resource_id, True)


async def test_clients_and_keys_are_apart(keys: IdempotencyKeys) -> None:
    ids = {(await reserved(keys, client=client, key=key)).resource_id for client in "ab" for key in "xy"}
    assert len(ids) == 4


async def test_keys_are_forgotten_after_a_day(keys: IdempotencyKeys) -> None:
    indexes = await keys._mongo.collection(COLLECTION).index_information()
    assert indexes["reserved_at_1"]["expireAfterSeconds"] == RETENTION_S


@pytest.mark.parametrize("key", ["", "k" * 256, "ü", "a\tb", "\x7f"])
def test_keys_that_cannot_be_kept(key: str) -> None:
    with pytest.raises(Problem) as refused:
        idempotency_key({"Idempotency-Key": key})
    assert refused.value.status == 400


def test_keys_that_can() -> None:
    assert idempotency_key({}) is None
    assert idempotency_key({"Idempotency-Key": "k" * 255}) == "k" * 255


async def test_a_lease_of_a_clock_that_was_ahead_ends_when_the_clock_is_right(
    keys: IdempotencyKeys, clock: Clock
) -> None:
    first = await reserved(keys)
    clock.now -= timedelta(hours=3)
    again = await reserved(keys)
    assert (again.resource_id, again.is_retry) == (first.resource_id, True)
