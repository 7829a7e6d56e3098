"""Memory: a file of any size is read, packed and reported on piece by piece."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1]
HEADER = "id,userId,dateTime,productId,quantity,unitPrice"
# How much more ten times as many records may take: caches and the allocator, not the records (15 MB as text).
MAX_GROWTH_KB = 4_000
PROGRAM = """
import sys
from pathlib import Path
from tillstream.packing import Bounds, pack
from tillstream.sources.flat import FlatOptions
from tillstream.sources.open import open_source

source = open_source(Path(sys.argv[1]), FlatOptions("orders", {}))
total = source.count()
assert sum(batch.count for batch in pack(source.records(), Bounds())) == total == int(sys.argv[2])
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def write(path: Path, count: int) -> None:
    if path.suffix == ".csv":
        lines = (f"order-{number},user-{number},2024-05-01T10:00:00Z,4556,1,9.99" for number in range(count))
        path.write_text("\n".join([HEADER, *lines]))
        return
    line = {"productId": "4556", "quantity": 1, "unitPrice": "9.99"}
    sale = {"dateTime": "2024-05-01T10:00:00Z", "lineItems": [line]}
    records = [json.dumps({"id": f"order-{number}", "userId": f"user-{number}", **sale}) for number in range(count)]
    path.write_text("[" + ",\n".join(records) + "]" if path.suffix == ".json" else "\n".join(records))


def peak_kb(path: Path, count: int) -> int:
    """Return the peak memory of a process that reads and packs a file of `count` records."""
    write(path, count)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), str(count)],
        env={"PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("suffix", ["csv", "ndjson", "json"])
def test_ten_times_as_many_records_take_no_more_memory(tmp_path: Path, suffix: str) -> None:
    few, many = (peak_kb(tmp_path / f"{count}.{suffix}", count) for count in (10_000, 100_000))
    assert many - few < MAX_GROWTH_KB
