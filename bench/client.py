"""The client's own cost per record: reading, packing and compressing a CSV file, and its memory at a million rows.

`python -m bench.client [ROWS]`; nothing is sent.
"""

import csv
import resource
import sys
import tempfile
from pathlib import Path
from time import process_time

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "clients" / "python"))

from tillstream.packing import Batch, Bounds, pack
from tillstream.sources.flat import FlatOptions
from tillstream.sources.open import open_source

HEADER = ["id", "userId", "dateTime", "channel", "storeId", "currency", "productId", "quantity", "unitPrice"]
TARGET_PER_S = 5_000


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
    assert sum(batches) == records
    rate = records / (packed - started)
    print(f"{rows:,} rows, {records:,} records, {len(batches):,} requests")
    print(f"checking the file: {1e6 * (checked - started) / records:.1f} µs a record")
    print(f"reading, encoding, packing: {1e6 * (packed - checked) / records:.1f} µs a record")
    print(f"together {rate:,.0f} records/s on one core (target {TARGET_PER_S:,})")
    print(f"memory: {before:.0f} MB before, {memory_mb():.0f} MB at the peak")


if __name__ == "__main__":
    main()
