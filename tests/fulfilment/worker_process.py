"""A process that places and fulfils orders and closes days, until it is done or killed at a failpoint.

`python -m tests.fulfilment.worker_process URI DATABASE WORK NOW_US`; WORK is `order:<id>`, `fulfil:<id>` or `close`.
"""

import asyncio
import sys

from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.settings import MongoSettings
from tests.fulfilment.harness import Clock, build_mongo_harness


async def main(uri: str, database: str, work: str, now_us: int) -> None:
    async with Mongo.connect(MongoSettings(mongodb_uri=uri, mongodb_database=database)) as mongo:
        harness = build_mongo_harness(mongo, Clock(now_us))
        action, _, transaction_id = work.partition(":")
        if action == "order":
            # A request that is repeated after a crash has the id that was reserved for it.
            await harness.place(("CARD", 2), transaction_id=transaction_id, is_retry=True)
        elif action == "fulfil":
            await harness.fulfil(transaction_id)
        else:
            await harness.close_days()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
