"""Databases of the portal's stores, with both drivers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.settings import MongoSettings
from services.portal.domain.file_import import FileImport, Purpose, ReadOptions
from services.portal.domain.upload import Upload

NOON_US = 1_764_504_000_000_000
SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
SITE, OTHER_SITE = 7, 8


@asynccontextmanager
async def temporary_mongo(uri: str, driver: str = "motor") -> AsyncIterator[Mongo]:
    name = f"t{uuid4().hex[:12]}"
    mongo = Mongo.connect(MongoSettings(mongodb_uri=uri, mongodb_database=name, mongo_driver=driver))
    try:
        yield mongo
    finally:
        await mongo.client.drop_database(name)
        await mongo.close()


@pytest.fixture
async def mongo(mongodb_uri: str) -> AsyncIterator[Mongo]:
    async with temporary_mongo(mongodb_uri) as mongo:
        yield mongo


@pytest.fixture(params=["motor", "pymongo"])
async def each_mongo(request: pytest.FixtureRequest, mongodb_uri: str) -> AsyncIterator[Mongo]:
    async with temporary_mongo(mongodb_uri, request.param) as mongo:
        yield mongo


def an_upload(**changes: object) -> Upload:
    fields = {
        "id": uuid4().hex,
        "site": SITE,
        "client_id": "c",
        "name": "sales.csv",
        "size": 10,
        "created_us": NOON_US,
        "expires_us": NOON_US + 7 * DAY_US,
    }
    return Upload(**fields | changes)  # type: ignore[arg-type]


def an_import(**changes: object) -> FileImport:
    fields = {
        "id": uuid4().hex,
        "site": SITE,
        "client_id": "c",
        "upload": "u",
        "file_name": "sales.csv",
        "purpose": Purpose.IMPORT,
        "options": ReadOptions(),
        "created_us": NOON_US,
        "expires_us": NOON_US + 30 * DAY_US,
    }
    return FileImport(**fields | changes)  # type: ignore[arg-type]
