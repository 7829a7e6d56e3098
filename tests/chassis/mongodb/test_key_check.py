"""A replaced key is noticed by the check value that is stored beside the data."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from sandbox.mongo import ReplicaSet
from services.chassis.mongodb import key_check
from services.chassis.mongodb.client import Mongo
from services.chassis.mongodb.key_check import KEY_CHECKS, verify_keys
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
                    with pytest.raises(UnavailableError):
                        await verify_keys(mongo, {"A_KEY": OLD})
                assert await mongo.collection(KEY_CHECKS).find_one({"_id": "A_KEY"}), "the primary has it"
