"""`python -m tests.openapi.campaign`: fuzzes the import API; its document must describe every response."""

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
from services.chassis.kafka.producer import OnSettled
from services.chassis.runtime.logs import configure
from services.chassis.runtime.settings import REPOSITORY
from services.ingest.adapters.publisher import KafkaPublisher
from services.ingest.wire import Encoder
from tests.ingest.client import ApiClient, Response, import_api
from tests.openapi.documents import Operation, load_document, operations, resolve
from tests.openapi.mutations import MutatedRequest, random_request
from tests.openapi.schemathesis_runner import all_operations

DOCUMENT = load_document("omnichannel")
WORKERS = 4


class DiscardingProducer:
    """A producer that acknowledges and discards all records."""

    async def partitions(self, topic: str) -> int:
        return len(topic)

    async def partition_for_key(self, topic: str, key: bytes) -> int:
        return len(topic) + len(key)

    def known_partitions(self, topic: str) -> int:
        return len(topic)

    def leader(self, topic: str, partition: int) -> int:
        return len(topic) + partition

    def send_nowait(self, topic: str, partition: int, records: Sequence[bytes], on_settled: OnSettled) -> None:
        del topic, partition
        assert all(records)
        asyncio.get_running_loop().call_soon(on_settled, None)

    async def send_encoded(self, topic: str, partition: int, records: Sequence[bytes]) -> None:
        del topic, partition
        assert all(records)


class ResponseChecker:
    """Validators of all documented responses, compiled once."""

    def __init__(self, document: Any) -> None:
        self._validators: dict[tuple[Operation, int, str], Draft202012Validator] = {}
        for operation, definition in operations(document).items():
            for status, response in definition["responses"].items():
                for media, content in resolve(document, response).get("content", {}).items():
                    schema = {**content["schema"], "components": document["components"]}
                    self._validators[operation, int(status), media] = Draft202012Validator(schema)

    def find_fault(self, operation: Operation, response: Response) -> str | None:
        """Return what is wrong with the response, or None."""
        media = response.headers.get("content-type", "").partition(";")[0]
        validator = self._validators.get((operation, response.status, media))
        if validator is None:
            return f"{response.status} {media} is not described"
        if response.status >= 500:
            return f"{response.status}"
        return next((error.message for error in validator.iter_errors(response.json)), None) or _count_fault(response)


def _count_fault(response: Response) -> str | None:
    """Return the message of an accepted import whose counts do not add up."""
    if response.status != 202:
        return None
    numbers = [int(word.rstrip(".")) for word in response.json["message"].split() if word.rstrip(".").isdigit()]
    total, success, failed = numbers
    return None if total == success + failed and 1 <= total <= 100 else response.json["message"]


def generate_bodies(count: int, start: int) -> list[Any]:
    """Let Schemathesis generate valid and invalid bodies from the document."""
    bodies: list[Any] = []
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
            def collect(case: Any) -> None:
                if isinstance(case.body, dict | list):
                    bodies.append(case.body)

            collect()
    return bodies


async def chunks(body: bytes) -> AsyncIterator[bytes]:
    """Yield a body without a Content-Length."""
    for at in range(0, len(body), 7_000):
        yield body[at : at + 7_000]


async def send(client: ApiClient, request: MutatedRequest) -> Response:
    """Send a request with exactly its headers."""
    data = chunks(request.body) if request.is_chunked else request.body
    return await client.call(request.method, request.path, data=data, headers=request.headers, token=None)


async def campaign(requests: int, start: int, corpus: list[Any]) -> tuple[Counter[int], list[str]]:
    """Send the requests; return the count of each status, and every wrong response."""
    checker, seen, faults = ResponseChecker(DOCUMENT), Counter[int](), list[str]()
    numbers = iter(range(start, start + requests))
    async with import_api(records_per_second=1_000_000_000) as client:
        encoder = Encoder(Schemas.load(REPOSITORY / "schemas"))
        client.publisher.publish = KafkaPublisher(DiscardingProducer(), encoder).publish  # type: ignore[method-assign,arg-type]

        async def work() -> None:
            for number in numbers:
                request = random_request(random.Random(number), corpus)  # noqa: S311 - reproducible
                response = await send(client, request)
                seen[response.status] += 1
                fault = checker.find_fault(Operation(request.method, request.template), response)
                if fault is not None:
                    faults.append(f"request {number}: {request.method} {request.path}: {fault}: {request.body[:300]!r}")
                client.journal.clear()

        await asyncio.gather(*(work() for _ in range(WORKERS)))
    return seen, faults


def main(arguments: Sequence[str]) -> int:
    """Run the campaign and print a summary; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--generated", type=int, default=40, help="bodies from Schemathesis per operation and mode")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    configure("campaign", "ERROR")
    began = time.monotonic()
    corpus = generate_bodies(options.generated, options.seed)
    seen, faults = asyncio.run(campaign(options.requests, options.seed, corpus))
    took = time.monotonic() - began
    sys.stdout.write(f"{sum(seen.values())} requests in {took:.0f} s, {len(corpus)} bodies from Schemathesis\n")
    sys.stdout.write(json.dumps(dict(sorted(seen.items()))) + "\n")
    sys.stdout.writelines(f"{fault}\n" for fault in faults[:50])
    sys.stdout.write(f"{len(faults)} wrong responses\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
