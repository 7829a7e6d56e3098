"""The operator's commands of the ledger."""

import asyncio
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from services.__main__ import app
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.settings import MongoSettings
from services.ledger.adapters.collections import SUMS, create_indexes
from tests.ledger.harness import Harness
from tests.ledger.records import an_order

SITE = 608


@pytest.fixture(autouse=True)
def unconfigured_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line configures logging for its whole process, which other tests share."""
    monkeypatch.setattr("services.__main__.configure", lambda *_, **__: None)


@pytest.fixture
def database(mongodb_uri: str, monkeypatch: pytest.MonkeyPatch) -> MongoSettings:
    """A database with one order, which the commands use."""
    settings = MongoSettings.model_validate({"mongodb_uri": mongodb_uri, "mongodb_database": f"cli{uuid4().hex[:12]}"})
    monkeypatch.setenv("MONGODB_URI", mongodb_uri)
    monkeypatch.setenv("MONGODB_DATABASE", settings.mongodb_database)

    async def record() -> None:
        async with Mongo.connect(settings) as mongo:
            await create_indexes(mongo)
            harness = Harness(mongo)
            await harness.record(an_order(site=SITE))
            await harness.fold()

    asyncio.run(record())
    return settings


def test_an_audit_that_finds_nothing_succeeds(database: MongoSettings) -> None:
    del database
    for arguments in (["ledger", "audit"], ["ledger", "audit", "--site", str(SITE)]):
        done = CliRunner().invoke(app, arguments)
        assert (done.exit_code, done.output.strip()) == (0, "site 608: 1 orders, 0 sums differ")


def test_an_audit_names_a_cent_and_fails(database: MongoSettings) -> None:
    async def plant() -> None:
        async with Mongo.connect(database) as mongo:
            await mongo.collection(SUMS).update_one({"family": "all"}, {"$inc": {"days.14.2": 10_000}})

    asyncio.run(plant())
    done = CliRunner().invoke(app, ["ledger", "audit"])
    assert done.exit_code == 1
    assert done.output.splitlines() == [
        "site 608: 1 orders, 1 sums differ",
        "  all stores: 2023-11-14 web online USD -: gross 0.01",
    ]
