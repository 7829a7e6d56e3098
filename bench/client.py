"""The client's own cost per record: reading, packing and importing a CSV file, and its memory at a million rows.

`python -m bench.client [ROWS]`. What is measured is the CPU time of this process, all threads together, over HTTP to a
server in another process that accepts everything: how fast a client on one core can be, not how fast a server is. An
import follows 40 jobs a second at most, and so 4,000 records, unless it may ask the status API more often.
"""

import asyncio
import csv
import json
import re
import resource
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from time import process_time
from typing import cast

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
_LIMITS = {
    "recordsPerSecond": 10**9,
    "remaining": 10**9,
    "resetAfterSeconds": 0,
    "recordsPerRequest": 100,
    "bytesPerRequest": 102_400,
    "inflatedBytesPerRequest": 4_194_304,
}
_JOB = {
    **dict.fromkeys(("jobId", "name", "state", "status", "jobCreated", "lastModified", "completedAt", "duration"), ""),
    "terminal": True,
    "baggage": {"records": {"total": 100, "success": 100, "failed": 0}},
    "attributes": {"mode": "offline", "type": "orders"},
}
LIMITS = json.dumps(_LIMITS).encode()
SUMMARY = json.dumps({"summary": {"job": _JOB}}).encode()
TOKEN = b'{"access_token": "t", "expires_in": 3600}'
ACCEPTED = b'{"message": "", "time": 0, "jobId": "0b7c3d52-cd1f-11f0-8de9-0242ac120002"}'


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


class Stub(asyncio.Protocol):
    """A server that accepts everything, and shows every job as done."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer a request once it is whole."""
        assert self._transport is not None
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        if end and len(body) >= (int(length[1]) if length else 0):
            self._received = b""
            self._transport.write(respond(*head.split(b" ", 2)[:2]))


def respond(method: bytes, path: bytes) -> bytes:
    """Return a response."""
    if path.endswith(b"/oauth2/token"):
        status, body = b"200 OK", TOKEN
    elif method == b"POST":
        status, body = b"202 Accepted", ACCEPTED
    else:
        status, body = b"200 OK", LIMITS if path.endswith(b"/limits") else SUMMARY
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
    return head + body


def serve(port: Connection) -> None:
    """Serve in this process, until it is ended."""

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


@contextmanager
def stub() -> Iterator[str]:
    """Yield the address of a server in a process of its own: its work is not the client's."""
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        process.kill()
        process.join()


def import_all(base_url: str, path: Path) -> float:
    """Import the file, and return the CPU time that it took, from opening it to the last outcome."""
    manifest = Manifest(path.with_suffix(".sqlite"))
    started = process_time()
    source = open_source(path, FlatOptions("orders", {}))
    total = source.count()
    with Client(base_url, "c", "s", "k") as client:
        importer = Importer(client, source, manifest, ImportOptions())
        # Status requests have a pace of their own, which would make this wait.
        importer._status_pace = Pace(10**9)  # noqa: SLF001 - as above
        *_, last = importer.run(total)
    took = process_time() - started
    manifest.close()
    assert last.tally.succeeded == total
    return took


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
        with stub() as base_url:
            imported = import_all(base_url, path)
    assert sum(batches) == records
    print(f"{rows:,} rows, {records:,} records, {len(batches):,} requests; CPU time of the client, on one core")
    print(f"checking the file: {1e6 * (checked - started) / records:.1f} µs a record")
    print(f"reading, encoding, packing: {1e6 * (packed - checked) / records:.1f} µs a record")
    print(f"all of an import (check, packing, manifest, HTTP, outcomes): {1e6 * imported / records:.1f} µs a record")
    print(f"together {records / imported:,.0f} records/s (target {TARGET_PER_S:,})")
    print(f"memory: {before:.0f} MB before, {peak:.0f} MB after packing, {memory_mb():.0f} MB after importing")


if __name__ == "__main__":
    main()
