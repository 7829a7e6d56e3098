"""The pool's metrics, by either driver."""

from typing import Literal
from uuid import uuid4

import pytest
from pydantic import SecretStr

from services.chassis.mongodb import client as mongo
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.settings import MongoSettings
from tests.chassis.eventually import until


@pytest.mark.parametrize("driver", ["motor", "pymongo"])
async def test_it_counts_connections_and_times_the_wait_for_one(
    mongodb_uri: str, driver: Literal["motor", "pymongo"]
) -> None:
    opened, in_use = mongo.CONNECTIONS.labels("open"), mongo.CONNECTIONS.labels("in_use")
    before, waits = opened._value.get(), mongo.WAIT_SECONDS._sum.get()
    settings = MongoSettings(
        mongodb_uri=SecretStr(mongodb_uri), mongodb_database=f"pool_{uuid4().hex[:8]}", mongo_driver=driver
    )
    client = Mongo.connect(settings)
    await client.ping()
    assert opened._value.get() > before
    assert mongo.WAIT_SECONDS._sum.get() > waits
    await until(lambda: in_use._value.get() == 0)
    await client.close()
    await until(lambda: opened._value.get() == before)
