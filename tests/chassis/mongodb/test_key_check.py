"""A replaced key is noticed by the check value that is stored beside the data."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from sandbox.mongo import ReplicaSet
from services.chassis.mongodb import key_check
from services.chassis.mongodb.client import Mongo
from services.chassis.mongodb.key_check import (
    KEY_CHECKS,
    retire_key_ids,
    verify_key_ids,
    verify_keys,
    verify_rotated_key_ids,
)
from services.chassis.runtime.errors import ChangedSettingError, UnavailableError
from services.chassis.runtime.settings import MongoSettings
from tests.support.replica_sets import suspended_secondaries

OLD, NEW = b"o" * 32, b"n" * 32


@pytest.fixture(params=["motor", "pymongo"])
async def mongo(request: pytest.FixtureRequest, mongodb_uri: str) -> AsyncIterator[Mongo]:
    settings = MongoSettings(
        mongodb_uri=mongodb_uri, mongodb_database=f"t{uuid4().hex[:12]}", mongo_driver=request.param
    )
    async with Mongo.connect(settings) as mongo:
        yield mongo
        await mongo.client.drop_database(settings.mongodb_database)


async def test_the_same_key_passes_again_and_again(mongo: Mongo) -> None:
    for _ in range(3):
        await verify_keys(mongo, {"A_KEY": OLD, "ANOTHER_KEY": NEW})
    assert await mongo.collection(KEY_CHECKS).count_documents({}) == 2


async def test_a_replaced_key_is_refused_by_the_name_of_its_setting_until_the_old_one_is_back(mongo: Mongo) -> None:
    await verify_keys(mongo, {"A_KEY": OLD})
    for _ in range(2):
        with pytest.raises(ChangedSettingError, match=r"^A_KEY: ") as refused:
            await verify_keys(mongo, {"ANOTHER_KEY": OLD, "A_KEY": NEW})
        assert refused.value.setting == "A_KEY"
        assert NEW.decode() not in str(refused.value)
    await verify_keys(mongo, {"A_KEY": OLD})


async def test_a_process_that_is_refused_stores_none_of_its_keys(mongo: Mongo) -> None:
    await verify_keys(mongo, {"A_KEY": OLD})
    with pytest.raises(ChangedSettingError):
        await verify_keys(mongo, {"ANOTHER_KEY": NEW, "A_KEY": NEW})
    await verify_keys(mongo, {"ANOTHER_KEY": OLD, "A_KEY": OLD})


async def test_a_set_of_keys_may_grow_and_lacks_none_that_was_used(mongo: Mongo) -> None:
    for ids in ({"a"}, {"a"}, {"b", "a"}):
        await verify_key_ids(mongo, "KEYS", ids)
    for ids in ({"b"}, {"a"}, {"c", "b"}, set[str]()):
        with pytest.raises(ChangedSettingError, match=r"^KEYS: "):
            await verify_key_ids(mongo, "KEYS", ids)
    await retire_key_ids(mongo, "KEYS", kept=["b"])
    await verify_key_ids(mongo, "KEYS", {"b"})


async def test_of_rotated_keys_one_remains(mongo: Mongo) -> None:
    for ids in (["a"], ["a"], ["a", "b"], ["b", "c"], ["c"]):
        await verify_rotated_key_ids(mongo, "KEYS", ids)
    for refused in (["a"], ["a", "b"], ["d"]):
        with pytest.raises(ChangedSettingError, match=r"^KEYS: "):
            await verify_rotated_key_ids(mongo, "KEYS", refused)
    await verify_rotated_key_ids(mongo, "KEYS", ["c", "d"])


async def test_a_refused_set_of_keys_is_not_stored(mongo: Mongo) -> None:
    """Otherwise the right keys are refused from then on: they lack one of the wrong ones."""
    await verify_key_ids(mongo, "KEYS", {"right"})
    with pytest.raises(ChangedSettingError):
        await verify_key_ids(mongo, "KEYS", {"wrong"})
    await verify_key_ids(mongo, "KEYS", {"right"})


async def test_of_processes_that_start_with_different_sets_of_keys_some_start(mongo: Mongo) -> None:
    """Whichever is first: the sets that hold all of its keys go on, the others are refused."""
    sets = [{name} for name in "abcd"] * 2

    async def start(ids: set[str]) -> None:
        try:
            await verify_key_ids(mongo, "KEYS", ids)
        except UnavailableError:
            await start(ids)

    outcomes = await asyncio.gather(*map(start, sets), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {type(None), ChangedSettingError}
    (stored,) = await mongo.collection(KEY_CHECKS).find().to_list(None)
    assert [ids for ids, outcome in zip(sets, outcomes, strict=True) if outcome is None] == [{*stored["key_ids"]}] * 2


async def test_the_stored_value_differs_for_each_setting_and_does_not_contain_the_key(mongo: Mongo) -> None:
    await verify_keys(mongo, {"A_KEY": OLD, "ANOTHER_KEY": OLD})
    documents = await mongo.collection(KEY_CHECKS).find().to_list(None)
    assert len({document["value"] for document in documents}) == 2
    assert OLD.decode() not in str(documents)
    assert OLD.hex() not in str(documents)


async def test_of_two_processes_that_start_with_different_keys_one_is_refused(
    mongo: Mongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = key_check._store

    async def store_second(mongo: Mongo, setting: str, value: str) -> None:
        monkeypatch.setattr(key_check, "_store", store)
        await verify_keys(mongo, {setting: OLD})
        await store(mongo, setting, value)

    monkeypatch.setattr(key_check, "_store", store_second)
    with pytest.raises(ChangedSettingError):
        await verify_keys(mongo, {"A_KEY": NEW})
    await verify_keys(mongo, {"A_KEY": OLD})


async def test_nothing_is_concluded_while_the_database_is_unavailable() -> None:
    settings = MongoSettings(mongodb_uri="mongodb://127.0.0.1:1/?replicaSet=rs0", mongodb_timeout_ms=100)
    async with Mongo.connect(settings) as mongo:
        with pytest.raises(UnavailableError):
            await verify_keys(mongo, {"A_KEY": OLD})


async def test_a_value_that_only_the_primary_has_decides_nothing(tmp_path: Path) -> None:
    """Both secondaries are suspended: a value that the primary alone has may be rolled back."""
    with ReplicaSet(tmp_path, nodes=3) as members:
        settings = MongoSettings(mongodb_uri=members.uri, mongodb_timeout_ms=300)
        async with Mongo.connect(settings, retry_writes=False) as mongo:
            await mongo.ping()
            with suspended_secondaries(members):
                for _ in range(2):
                    outcomes = await asyncio.gather(
                        verify_keys(mongo, {"A_KEY": OLD}),
                        verify_key_ids(mongo, "KEYS", {"a"}),
                        verify_key_ids(mongo, "KEYS", {"b"}),
                        return_exceptions=True,
                    )
                    assert [type(outcome) for outcome in outcomes] == [UnavailableError] * 3
                for id_ in ("A_KEY", "KEYS"):
                    assert await mongo.collection(KEY_CHECKS).find_one({"_id": id_}), "the primary has it"
