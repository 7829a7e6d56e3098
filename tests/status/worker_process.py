"""A process that applies the events of one job, as redelivered ones: killed at a failpoint, it is started again."""

import asyncio
import sys
from datetime import UTC, datetime

from services.chassis.kafka.producer import Producer
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.settings import KafkaSettings, MongoSettings
from services.status.adapters.job_store import MongoJobStore
from services.status.adapters.publisher import KafkaFinishedPublisher
from services.status.flows.apply_events import Deps, apply_events
from services.status.wire import FinishedCodec
from tests.jobs.encoded import SCHEMAS
from tests.jobs.events import a_run, judged, opened
from tests.status.fakes import FakeNotifier, FakeSiteProfiles


async def main(uri: str, database: str, bootstrap: str, topic: str) -> None:
    settings = KafkaSettings(kafka_bootstrap_servers=bootstrap)
    async with (
        Mongo.connect(MongoSettings(mongodb_uri=uri, mongodb_database=database)) as mongo,
        Producer(settings, client_id="test") as producer,
    ):
        await producer.wait_ready(30)
        deps = Deps(
            jobs=MongoJobStore(mongo, now=lambda: datetime.now(UTC)),
            site_profiles=FakeSiteProfiles(),
            notifier=FakeNotifier(),
            finished=KafkaFinishedPublisher(producer, FinishedCodec(SCHEMAS), topic=topic),
            now_us=lambda: 0,
        )
        await apply_events([opened(), judged(a_run("SS"))], deps)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
