"""Records the sales of a seed as the service does, poll by poll, folding and publishing in between, to be killed.

Arguments: URI and name of the database, seed, the file that holds the committed offset, and that of published rows.
"""

import asyncio
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.producer import ProducerRecord
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import REPOSITORY, MongoSettings
from services.ledger.adapters.publisher import MovementPublisher
from services.ledger.wire.movements import MovementEncoder
from services.sales.records import SalesRecord
from tests.ledger.fuzzing import a_stream
from tests.ledger.harness import Harness

RECORDS_PER_POLL = 2


class FileProducer:
    """A topic in a file: a row a line, in hexadecimal."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def send_by_key(self, _topic: str, records: Sequence[ProducerRecord]) -> None:
        with self._path.open("a") as file:
            file.writelines(f"{(record.value or b'').hex()}\n" for record in records)


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


async def record_all(uri: str, database: str, seed: int, committed: Path, published: Path) -> None:
    """Record from the committed offset to the end, and publish everything."""
    settings = MongoSettings.model_validate({"mongodb_uri": uri, "mongodb_database": database})
    records = a_stream(random.Random(seed), seed)  # noqa: S311 - repeatable
    async with Mongo.connect(settings) as mongo:
        harness = Harness(mongo)
        encoder = MovementEncoder(Schemas.load(REPOSITORY / "schemas"))
        publisher = MovementPublisher(mongo, FileProducer(published), encoder)  # type: ignore[arg-type]
        offset = read_offset(committed)
        while offset < len(records):
            end = min(offset + RECORDS_PER_POLL, len(records))
            await record(harness, records[offset:end], end=end)
            write_offset(committed, end)
            offset = end
            await harness.fold()
            await publisher.publish()
        # What a killed process has recorded and not folded, or folded and not published.
        await harness.fold()
        while await publisher.publish():
            pass


if __name__ == "__main__":
    asyncio.run(record_all(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]), Path(sys.argv[5])))
