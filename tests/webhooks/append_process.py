"""A process that appends three events, to be killed at a failpoint."""

import asyncio
import sys

from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.settings import MongoSettings
from services.webhooks.adapters.feed_store import MongoFeedStore
from services.webhooks.flows.append_events import append_events
from tests.webhooks.events import an_event
from tests.webhooks.feed_fixtures import append_deps


async def main(uri: str, database: str) -> None:
    async with Mongo.connect(MongoSettings(mongodb_uri=uri, mongodb_database=database)) as mongo:
        await append_events([an_event(number) for number in range(3)], append_deps(MongoFeedStore(mongo)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
