"""Nothing counts as done before a majority of MongoDB's members has it."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sandbox.mongo import ReplicaSet
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import MongoSettings
from services.status.adapters.job_store import MongoJobStore
from services.status.flows.apply_events import Deps, apply_events
from tests.jobs.events import JOB, a_run, judged, opened
from tests.status.fakes import FakeNotifier, FakeSiteProfiles
from tests.status.test_job_store import BOTH_DRIVERS

pytestmark = pytest.mark.long


@contextmanager
def paused(members: ReplicaSet) -> Iterator[None]:
    """All but the primary."""
    primary = members.primary()
    others = [member.pid for member in members.members if member is not primary and member.pid is not None]
    assert len(others) == 2
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("guessing", [True, False])
@pytest.mark.parametrize("driver", BOTH_DRIVERS)
async def test_a_retry_that_finds_its_own_write_waits_until_a_majority_has_it(
    tmp_path: Path, driver: str, *, guessing: bool
) -> None:
    """Breaks: both secondaries are paused. Must hold: no success before they continue."""
    events = [opened(), judged(a_run("SS"))]
    with ReplicaSet(tmp_path, nodes=3) as three:
        # A primary without contact to a majority steps down after ten seconds.
        mongo = Mongo.connect(MongoSettings(mongodb_uri=three.uri, mongo_driver=driver, mongodb_timeout_ms=1_000))
        jobs = MongoJobStore(mongo, now=lambda: datetime.now(UTC))
        deps = Deps(jobs=jobs, site_profiles=FakeSiteProfiles(), notifier=FakeNotifier(), now_us=lambda: 0)
        await jobs.create_indexes(retention_days=30)
        with paused(three):
            for first in (True, guessing):
                with pytest.raises(UnavailableError):
                    await apply_events(events, deps, optimistic=first)
        async with asyncio.timeout(60):
            while await _job_is_missing(jobs):
                with suppress(UnavailableError):
                    await apply_events(events, deps, optimistic=guessing)
        await mongo.close()


async def _job_is_missing(jobs: MongoJobStore) -> bool:
    with suppress(UnavailableError):
        return await jobs.find(JOB) is None
    return True
