"""The catalogue commands, against the real topic."""

import asyncio
import json
from pathlib import Path

from tests.chassis.eventually import until
from tests.events.harness import CliProcess, KafkaHarness

TOPIC = "catalog.products.v1"


async def products_of(harness: KafkaHarness, site: int) -> set[bytes]:
    """Return the keys of a site's products that compaction would retain."""
    is_present: dict[bytes, bool] = {record.key: record.value is not None for record in await harness.records(TOPIC)}
    return {key for key, present in is_present.items() if present and key.startswith(b"%d|" % site)}


async def test_products_are_loaded_from_csv_and_from_ndjson(harness: KafkaHarness, tmp_path: Path) -> None:
    table, lines = tmp_path / "p.csv", tmp_path / "p.ndjson"
    table.write_text("site,productId,name\n701,1,One\n701,2,Two\n")
    lines.write_text("\n".join(json.dumps({"site": 701, "productId": n, "withdrawn": n == 1}) for n in (1, 3)))
    output = await asyncio.to_thread(harness.run_cli, "catalog", "load", str(table))
    assert "2 products loaded" in output
    await asyncio.to_thread(harness.run_cli, "catalog", "load", str(lines))
    assert await products_of(harness, 701) == {b"701|2", b"701|3"}


async def test_a_watched_file_is_followed(harness: KafkaHarness, tmp_path: Path) -> None:
    """Products that the file lacks are removed; the file may be missing for a moment."""
    path, log = tmp_path / "p.csv", tmp_path / "watch.log"
    harness.add_products("before", site=702)
    path.write_text("site,productId,name\n702,1,One\n702,2,Two\n")
    watching = CliProcess(harness.bootstrap, log, "catalog", "watch", str(path), "--every", "0.1")
    try:

        async def sells(*keys: bytes) -> None:
            async def there() -> bool:
                return await products_of(harness, 702) == set(keys)

            await until(there, deadline_s=60)

        await sells(b"702|1", b"702|2")
        path.write_text("site,productId,name\n702,2,Two\n702,3,Three\n")
        await sells(b"702|2", b"702|3")
        path.write_text("site,productId,name\n702,2,Tw")
        path.write_text("site,productId,name\n702,2,Two\n")
        await sells(b"702|2")
        path.unlink()
        await until(lambda: "No such file" in log.read_text(), deadline_s=30)
        path.write_text("site,productId,name\n702,4,Four\n")
        await sells(b"702|4")
    finally:
        await asyncio.to_thread(watching.stop)
