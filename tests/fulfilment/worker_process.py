"""A process that sells: places and fulfils orders and closes days, until it is done or dies at a failpoint.

`python -m tests.fulfilment.worker_process URI DATABASE WORK NOW_US`; WORK is `order:<id>`, `fulfil:<id>` or `close`.
"""

import asyncio
import sys

from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.settings import MongoSettings
from tests.fulfilment.harness import Clock, build_mongo_harness


async def main(uri: str, database: str, work: str, now_us: int) -> None:
    mongo = Mongo.connect(MongoSettings(mongodb_uri=uri, mongodb_database=database))
    harness = build_mongo_harness(mongo, Clock(now_us))
    what, _, transaction_id = work.partition(":")
    if what == "order":
        # Whoever sends it again after a crash comes with the id that was reserved for it.
        await harness.place(("CARD", 2), transaction_id=transaction_id, is_retry=True)
    elif what == "fulfil":
        await harness.fulfil(transaction_id)
    else:
        await harness.close()
    await mongo.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
