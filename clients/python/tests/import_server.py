"""The APIs as an import sees them, and an import that runs against them."""

import csv
import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2

from tillstream import Client, RetryPolicy
from tillstream.importer import Importer, ImportOptions, Progress
from tillstream.manifest import Manifest
from tillstream.sources.flat import FlatOptions
from tillstream.sources.open import open_source

HEADER = ["id", "userId", "dateTime", "productId", "quantity", "unitPrice"]
COUNTS = {"total": 0, "success": 0, "failed": 0}


class Server:
    """The APIs, as far as an import needs them. `fails` may raise instead of a response, after the work is done."""

    def __init__(self, *, records_per_second: int = 100_000) -> None:
        self.records_per_second = self.dry_records_per_second = records_per_second
        self.jobs: dict[str, list[dict[str, Any]]] = {}
        self.by_key: dict[str, tuple[bytes, str]] = {}
        self.validated: list[int] = []
        self.unprocessed: frozenset[str] = frozenset()
        self.fails: Callable[[httpx2.Request], None] = lambda _: None
        self.refuses: httpx2.Response | None = None
        self.refuses_tokens: httpx2.Response | None = None
        self.forgotten: frozenset[str] = frozenset()

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        response = self._respond(request)
        self.fails(request)
        return response

    def _respond(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        if path.endswith("/oauth2/token"):
            return self.refuses_tokens or httpx2.Response(
                200, json={"token_type": "bearer", "access_token": "t", "expires_in": 3600}
            )
        if path.endswith("/limits"):
            return httpx2.Response(200, json=self._limits(is_dry_run="validateOnly" in request.url.params))
        if request.method == "POST":
            return self.refuses or self._import(request)
        job = path.split("/job/")[1].split("/")[0]
        if job in self.forgotten:
            return httpx2.Response(404, json={"code": "JOB_NOT_FOUND", "detail": "no such job"})
        failed = [self._result(index, one) for index, one in enumerate(self.jobs[job]) if self._is_bad(one)]
        late = [
            self._result(index, one) | {"outcome": "unprocessed"}
            for index, one in enumerate(self.jobs[job])
            if one["id"] in self.unprocessed
        ]
        if path.endswith("/records"):
            found = late if request.url.params["outcome"] == "unprocessed" else failed
            return httpx2.Response(200, json={"result": found})
        return httpx2.Response(200, json={"summary": {"job": self._job(job, len(failed), len(late))}})

    def _limits(self, *, is_dry_run: bool) -> dict[str, int]:
        limit = self.dry_records_per_second if is_dry_run else self.records_per_second
        return {
            "recordsPerSecond": limit,
            "remaining": limit,
            "resetAfterSeconds": 0,
            "recordsPerRequest": 100,
            "bytesPerRequest": 102_400,
            "inflatedBytesPerRequest": 4_194_304,
        }

    def _import(self, request: httpx2.Request) -> httpx2.Response:
        records = json.loads(gzip.decompress(request.content))
        if "validateOnly" in request.url.params:
            self.validated.append(len(records))
            assert "Idempotency-Key" in request.headers
            results = [self._result(index, one) for index, one in enumerate(records)]
            return httpx2.Response(200, json={"message": "", "time": 0, "catalogueAsOf": None, "records": results})
        key = request.headers["Idempotency-Key"]
        body, job = self.by_key.setdefault(key, (request.content, str(uuid4())))
        if body != request.content:
            return httpx2.Response(422, json={"code": "IDEMPOTENCY_CONFLICT", "detail": "another request"})
        self.jobs[job] = records
        return httpx2.Response(202, json={"message": "", "time": 0, "jobId": job})

    @staticmethod
    def _is_bad(record: dict[str, Any]) -> bool:
        return bool(record["lineItems"][0]["productId"] == "zz")

    def _result(self, index: int, record: dict[str, Any]) -> dict[str, Any]:
        fault = {
            "code": "PRODUCT_NOT_FOUND",
            "field": "/lineItems/0/productId",
            "message": "No product is found for product ID zz",
            "retryable": True,
        }
        is_bad = self._is_bad(record)
        outcome = "failed" if is_bad else "succeeded"
        return {"index": index, "userId": "u", "outcome": outcome, "faults": [fault] if is_bad else []}

    def _job(self, job: str, failed: int, unprocessed: int) -> dict[str, Any]:
        total = len(self.jobs[job])
        success = total - failed - unprocessed
        counts = {"total": total, "success": success, "failed": failed, "unprocessed": unprocessed}
        return {
            "jobId": job,
            "name": "",
            "state": "COMPLETED",
            "status": "PROCESSING",
            "terminal": True,
            "jobCreated": "",
            "lastModified": "",
            "completedAt": None,
            "duration": "",
            "baggage": {"records": counts},
            "attributes": {"mode": "offline", "type": "orders"},
        }

    def judged(self) -> Counter[str]:
        """How often each record was judged, over all jobs."""
        return Counter(record["id"] for records in self.jobs.values() for record in records)


def write_file(directory: Path, count: int, *, bad: frozenset[int] = frozenset()) -> Path:
    path = directory / "sales.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for number in range(count):
            product = "zz" if number in bad else "4556"
            writer.writerow([f"o{number}", "u", "2024-05-01T10:00:00Z", product, 1, 1])
    return path


def run(server: Server, path: Path, manifest: Manifest, *, stop_after: int | None = None, **options: Any) -> Progress:
    """Run an import once; return its last progress."""
    http = httpx2.Client(transport=httpx2.MockTransport(server), base_url="https://t.example")
    with Client("https://t.example", "c", "s", "k", http=http, retry=RetryPolicy(max_wait_s=0)) as client:
        source = open_source(path, FlatOptions("orders", {}))
        importer = Importer(client, source, manifest, ImportOptions(**options))
        last: Progress | None = None
        for number, progress in enumerate(importer.run(source.count())):
            last = progress
            if number == stop_after:
                importer.stop()
    assert last is not None
    return last
