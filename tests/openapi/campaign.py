"""`python -m tests.openapi.campaign`: very many wrong requests to the import API; every answer must be described."""

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from jsonschema import Draft202012Validator

from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.producer import ProducerRecord
from services.chassis.runtime.logs import configure
from services.chassis.runtime.settings import REPOSITORY
from services.ingest.adapters.publisher import KafkaPublisher
from services.ingest.wire import Encoder
from tests.ingest.client import ApiClient, ReceivedResponse, import_api
from tests.openapi.documents import Operation, operations, read, resolved
from tests.openapi.mutations import Attempt, attempt
from tests.openapi.schemathesis_runner import all_operations

DOCUMENT = read("omnichannel")
WORKERS = 4


class Nowhere:
    """Takes all records, keeps none."""

    async def partitions(self, topic: str) -> int:
        return len(topic)

    async def partition_for_key(self, topic: str, key: bytes) -> int:
        return len(topic) + len(key)

    async def send(self, topic: str, record: ProducerRecord) -> None:
        del topic, record

    async def send_batch(self, topic: str, partition: int, records: Sequence[ProducerRecord]) -> None:
        del topic, partition
        assert all(isinstance(record.value, bytes) for record in records)


class Described:
    """What the document says of an answer, made ready once."""

    def __init__(self, document: Any) -> None:
        self._known: dict[tuple[Operation, int, str], Draft202012Validator] = {}
        for place, said in operations(document).items():
            for status, answer in said["responses"].items():
                for media, content in resolved(document, answer).get("content", {}).items():
                    schema = {**content["schema"], "components": document["components"]}
                    self._known[place, int(status), media] = Draft202012Validator(schema)

    def fault(self, place: Operation, answer: ReceivedResponse) -> str | None:
        """What is wrong with the answer, or None."""
        media = answer.headers.get("content-type", "").partition(";")[0]
        validator = self._known.get((place, answer.status, media))
        if validator is None:
            return f"{answer.status} {media} is not described"
        if answer.status >= 500:
            return f"{answer.status}"
        return next((error.message for error in validator.iter_errors(answer.json)), None) or _counts(answer)


def _counts(answer: ReceivedResponse) -> str | None:
    if answer.status != 202:
        return None
    numbers = [int(word.rstrip(".")) for word in answer.json["message"].split() if word.rstrip(".").isdigit()]
    total, success, failed = numbers
    return None if total == success + failed and 1 <= total <= 100 else answer.json["message"]


def made_up_bodies(count: int, start: int) -> list[Any]:
    """Bodies that Schemathesis makes from the document: good ones and bad ones."""
    found: list[Any] = []
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    for operation in all_operations(schema):
        if operation.method.upper() not in ("POST", "PUT"):
            continue
        for mode in schemathesis.GenerationMode:

            @seed(start)
            @settings(
                max_examples=count,
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def one(case: Any) -> None:
                if isinstance(case.body, dict | list):
                    found.append(case.body)

            one()
    return found


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    """A body whose length nobody says."""
    for at in range(0, len(body), 7_000):
        yield body[at : at + 7_000]


async def send(client: ApiClient, one: Attempt) -> ReceivedResponse:
    """One request, as it is."""
    data = pieces(one.body) if one.is_chunked else one.body
    return await client.call(one.method, one.path, data=data, headers=one.headers, token=None)


async def campaign(requests: int, start: int, corpus: list[Any]) -> tuple[Counter[int], list[str]]:
    """How often each status came, and every answer that was wrong."""
    described, seen, faults = Described(DOCUMENT), Counter[int](), list[str]()
    numbers = iter(range(start, start + requests))
    async with import_api(records_per_second=1_000_000_000) as client:
        client.publisher.publish = KafkaPublisher(Nowhere(), Encoder(Schemas.load(REPOSITORY / "schemas"))).publish  # type: ignore[method-assign,arg-type]

        async def work() -> None:
            for number in numbers:
                one = attempt(random.Random(number), corpus)  # noqa: S311 - it has to be repeatable
                answer = await send(client, one)
                seen[answer.status] += 1
                fault = described.fault(Operation(one.method, one.template), answer)
                if fault is not None:
                    faults.append(f"request {number}: {one.method} {one.path}: {fault}: {one.body[:300]!r}")
                client.journal.clear()

        await asyncio.gather(*(work() for _ in range(WORKERS)))
    return seen, faults


def main(arguments: Sequence[str]) -> int:
    """Run it and say what came."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--made-up", type=int, default=40, help="bodies of each sort that Schemathesis makes")
    parser.add_argument("--seed", type=int, default=0)
    given_ = parser.parse_args(arguments)
    configure("campaign", "ERROR")
    began = time.monotonic()
    corpus = made_up_bodies(given_.made_up, given_.seed)
    seen, faults = asyncio.run(campaign(given_.requests, given_.seed, corpus))
    took = time.monotonic() - began
    sys.stdout.write(f"{sum(seen.values())} requests in {took:.0f} s, {len(corpus)} bodies from Schemathesis\n")
    sys.stdout.write(json.dumps(dict(sorted(seen.items()))) + "\n")
    sys.stdout.writelines(f"{fault}\n" for fault in faults[:50])
    sys.stdout.write(f"{len(faults)} wrong answers\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
