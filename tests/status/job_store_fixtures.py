"""Job stores on databases of their own, and changes to write to them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.settings import MongoSettings
from services.jobs.events import JobEvent
from services.status.adapters.job_store import MongoJobStore
from services.status.domain.job import Job, JobChange, apply_update, apply_update_blind, new_job
from services.status.domain.updates import group_by_job
from tests.status.builders import a_profile
from tests.status.fakes import MemoryJobStore

Jobs = MongoJobStore | MemoryJobStore

BOTH_DRIVERS = ["motor", "pymongo"]


@dataclass
class Database:
    """A database of its own."""

    mongo: Mongo
    jobs: MongoJobStore


@asynccontextmanager
async def a_database(uri: str, driver: str) -> AsyncIterator[Database]:
    settings = MongoSettings(mongodb_uri=uri, mongodb_database=f"t{uuid4().hex[:12]}", mongo_driver=driver)
    mongo = Mongo.connect(settings, retry_writes=False)
    jobs = MongoJobStore(mongo, now=lambda: datetime.now(UTC))
    try:
        await jobs.create_indexes(retention_days=30)
        yield Database(mongo, jobs)
        await mongo.client.drop_database(settings.mongodb_database)
    finally:
        await mongo.close()


def the_change(*events: JobEvent, known: Job | None = None) -> JobChange:
    (update,) = group_by_job(events).values()
    stored = new_job(a_profile(events[0].header.total))
    change = apply_update(stored, update) if known is None else apply_update_blind(known.profile, update)
    assert change is not None
    return change
