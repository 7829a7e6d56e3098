"""Databases of MongoDB that last as long as a test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.settings import MongoSettings


@asynccontextmanager
async def temporary_mongo(uri: str, driver: str = "motor") -> AsyncIterator[Mongo]:
    """Connect to a new database; it is dropped at the end."""
    name = f"t{uuid4().hex[:12]}"
    mongo = Mongo.connect(MongoSettings(mongodb_uri=uri, mongodb_database=name, mongo_driver=driver))
    try:
        yield mongo
    finally:
        await mongo.client.drop_database(name)
        await mongo.close()
