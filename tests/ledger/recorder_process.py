"""Records the sales of a seed as the service does, poll by poll, folding in between: a process for tests to kill.

Arguments: URI and name of the database, seed, and the file that holds the committed offset.
"""

import asyncio
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import MongoSettings
from services.sales.records import SalesRecord
from tests.ledger.fuzzing import a_stream
from tests.ledger.harness import Harness

RECORDS_PER_POLL = 2


def read_offset(committed: Path) -> int:
    return int(committed.read_text()) if committed.exists() else 0


def write_offset(committed: Path, offset: int) -> None:
    committed.write_text(str(offset))


async def record(harness: Harness, records: Sequence[SalesRecord], *, end: int) -> None:
    """Record as the consumer does: until the transaction of the killed process has expired, it fails."""
    while True:
        try:
            await harness.record(*records, end=end)
        except UnavailableError:
            continue
        return


async def record_all(uri: str, database: str, seed: int, committed: Path) -> None:
    """Record from the committed offset to the end."""
    settings = MongoSettings.model_validate({"mongodb_uri": uri, "mongodb_database": database})
    records = a_stream(random.Random(seed), seed)  # noqa: S311 - repeatable
    async with Mongo.connect(settings) as mongo:
        harness = Harness(mongo)
        offset = read_offset(committed)
        while offset < len(records):
            end = min(offset + RECORDS_PER_POLL, len(records))
            await record(harness, records[offset:end], end=end)
            write_offset(committed, end)
            offset = end
            await harness.fold()


if __name__ == "__main__":
    asyncio.run(record_all(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])))
