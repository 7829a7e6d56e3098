"""Databases of the portal's stores, with both drivers."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from services.chassis.mongodb.client import Mongo
from services.portal.domain.file_import import FileImport, Purpose, ReadOptions
from services.portal.domain.upload import Upload
from tests.support.databases import temporary_mongo

NOON_US = 1_764_504_000_000_000
SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
SITE, OTHER_SITE = 7, 8


class Clock:
    """A clock that stands still unless a test moves it: no lease expires on a slow machine."""

    now_us = NOON_US

    def __call__(self) -> int:
        return self.now_us


@pytest.fixture
def clock() -> Clock:
    return Clock()


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
