"""Fixtures of several tests."""

from collections.abc import AsyncIterator

import pytest

from tests.status.fakes import MemoryJobStore
from tests.status.job_store_fixtures import BOTH_DRIVERS, Jobs, a_database


@pytest.fixture(params=["memory", *BOTH_DRIVERS])
async def jobs(request: pytest.FixtureRequest) -> AsyncIterator[Jobs]:
    if request.param == "memory":
        yield MemoryJobStore()
        return
    async with a_database(request.getfixturevalue("mongodb_uri"), request.param) as database:
        yield database.jobs
