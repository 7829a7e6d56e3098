"""A database of the simulated replica set, and one of the real one, through the same interface."""

import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from pymongo import AsyncMongoClient, WriteConcern

from tests.simulation.mongo_client import SimulatedMongoClient
from tests.simulation.network import Network
from tests.simulation.replica_set import ReplicaSet

DURABLE = WriteConcern(w="majority", j=True)
OPTIONS: dict[str, Any] = {"timeoutMS": 10_000, "tz_aware": True}


def fake_client() -> SimulatedMongoClient:
    """A client of a simulated replica set of its own."""
    chance = random.Random(1)  # noqa: S311 - delays

    class Client(SimulatedMongoClient):
        cluster = ReplicaSet(chance)
        network = Network(chance)

    return Client("mongodb://fake", **OPTIONS)


@pytest.fixture(params=["fake", "real"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """A client of each server. MongoDB is started for the second one only."""
    if request.param == "fake":
        yield fake_client()
        return
    real: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(request.getfixturevalue("mongodb_uri"), **OPTIONS)
    yield real
    await real.close()


@pytest.fixture
async def database(client: Any) -> AsyncIterator[Any]:
    """An empty database with durable writes."""
    name = f"fakes{uuid4().hex[:12]}"
    yield client.get_database(name, write_concern=DURABLE)
    if isinstance(client, AsyncMongoClient):
        await client.drop_database(name)
