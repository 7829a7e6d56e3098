"""The client's own cost per record: reading, packing and importing a CSV file, and its memory at a million rows.

`python -m bench.client [ROWS]`; the server is a function in this process that accepts everything.
"""

import csv
import resource
import sys
import tempfile
from pathlib import Path
from time import process_time

import httpx2

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "clients" / "python"))

from tillstream import Client
from tillstream.importer import Importer, ImportOptions
from tillstream.manifest import Manifest
from tillstream.pace import Pace
from tillstream.packing import Batch, Bounds, pack
from tillstream.sources.flat import FlatOptions
from tillstream.sources.open import open_source

HEADER = ["id", "userId", "dateTime", "channel", "storeId", "currency", "productId", "quantity", "unitPrice"]
TARGET_PER_S = 5_000
LIMITS = {
    "recordsPerSecond": 10**9,
    "remaining": 10**9,
    "resetAfterSeconds": 0,
    "recordsPerRequest": 100,
    "bytesPerRequest": 102_400,
    "inflatedBytesPerRequest": 4_194_304,
}
JOB = {
    **dict.fromkeys(("jobId", "name", "state", "status", "jobCreated", "lastModified", "completedAt", "duration"), ""),
    "terminal": True,
    "baggage": {"records": {"total": 100, "success": 100, "failed": 0}},
    "attributes": {"mode": "offline", "type": "orders"},
}


def write_file(path: Path, rows: int) -> None:
    """Write orders, every tenth with a second line."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for number in range(rows):
            order = number - number // 10
            sale = ["2026-05-01 10:15:00", "web", f"Store {order % 97}", "EUR"]
            line = [str(4556 + number % 3), str(1 + number % 7), f"{number % 500}.{number % 100:02}"]
            writer.writerow([f"o-{order:08}", f"user-{order % 9973}", *sale, *line])


def memory_mb() -> float:
    """Return the peak of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def answer(request: httpx2.Request) -> httpx2.Response:
    """Accept every request, and show every job as done."""
    path = request.url.path
    if path.endswith("/oauth2/token"):
        return httpx2.Response(200, json={"access_token": "t", "expires_in": 3600})
    if path.endswith("/limits"):
        return httpx2.Response(200, json=LIMITS)
    if request.method == "POST":
        return httpx2.Response(202, json={"message": "", "time": 0, "jobId": f"job-{len(request.content)}"})
    return httpx2.Response(200, json={"summary": {"job": JOB}})


def import_all(path: Path, total: int) -> None:
    """Import the file."""
    http = httpx2.Client(transport=httpx2.MockTransport(answer), base_url="https://t.example")
    manifest = Manifest(path.with_suffix(".sqlite"))
    with Client("https://t.example", "c", "s", "k", http=http) as client:
        importer = Importer(client, open_source(path, FlatOptions("orders", {})), manifest, ImportOptions())
        # Status requests have a pace of their own, which would make this wait.
        importer._status_pace = Pace(10**9)  # noqa: SLF001 - as above
        *_, last = importer.run(total)
    manifest.close()
    assert last.tally.succeeded == total


def main() -> None:
    """Measure and print."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "sales.csv"
        write_file(path, rows)
        before = memory_mb()
        source = open_source(path, FlatOptions("orders", {}))
        started = process_time()
        records = source.count()
        checked = process_time()
        batches = [item.count for item in pack(source.records(), Bounds()) if isinstance(item, Batch)]
        packed = process_time()
        peak = memory_mb()
        import_all(path, records)
        imported = process_time()
    assert sum(batches) == records
    rate = records / (packed - started)
    print(f"{rows:,} rows, {records:,} records, {len(batches):,} requests")
    print(f"checking the file: {1e6 * (checked - started) / records:.1f} µs a record")
    print(f"reading, encoding, packing: {1e6 * (packed - checked) / records:.1f} µs a record")
    print(f"together {rate:,.0f} records/s on one core (target {TARGET_PER_S:,})")
    print(f"importing, a manifest and HTTP included: {records / (imported - packed):,.0f} records/s of CPU time")
    print(f"memory: {before:.0f} MB before, {peak:.0f} MB after packing, {memory_mb():.0f} MB after importing")


if __name__ == "__main__":
    main()
