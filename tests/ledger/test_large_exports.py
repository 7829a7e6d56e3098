"""Exports of a million entries, or EXPORT_ENTRIES: complete in every format, in memory that does not grow."""

import json
import os
import zipfile
from collections.abc import AsyncIterator, Iterable
from hashlib import sha256
from itertools import islice
from pathlib import Path

import aiohttp
import psutil
import pytest

from bench.ledger_reading import BASE, HEADERS, replica
from bench.ledger_sales import fill
from services.ledger.adapters.collections import ENTRIES
from services.ledger.http.tables import MAX_SHEET_ROWS
from tests.ledger.harness import Harness, open_mongo

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

ENTRIES_TO_EXPORT = int(os.environ.get("EXPORT_ENTRIES", "1_000_000"))
CUT_AT = ENTRIES_TO_EXPORT * 19 // 20 - 1
PIECE_BYTES = 2**18
# How much of the stream may warm the process up, and by how much its memory may then still grow: a twentieth of a
# million entries would take more.
WARM_UP, MAX_GROWTH_BYTES = 0.1, 48 * 2**20

Served = tuple[int, psutil.Process]


@pytest.fixture(scope="module")
async def served(mongodb_uri: str) -> AsyncIterator[Served]:
    """The API over a million entries, in a process of its own."""
    async with open_mongo(mongodb_uri, "pymongo") as mongo:
        await fill(Harness(mongo), ENTRIES_TO_EXPORT, present=0)
        async with replica(mongodb_uri, "motor", mongo.collection(ENTRIES).database.name) as replica_:
            yield replica_


async def pieces(port: int, **query: str) -> AsyncIterator[bytes]:
    """Yield the body of an export."""
    url = f"http://127.0.0.1:{port}{BASE}/exports/orders"
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers=HEADERS, params=query, timeout=aiohttp.ClientTimeout(), raise_for_status=True) as got,
    ):
        while piece := await got.content.read(PIECE_BYTES):
            yield piece


async def download(served: Served, path: Path, format_: str) -> None:
    """Write an export to a file; the serving process must not grow while it is sent."""
    port, process = served
    sizes = []
    with path.open("wb") as file:
        async for piece in pieces(port, format=format_):
            file.write(piece)
            sizes.append(process.memory_info().rss)
    warm = int(len(sizes) * WARM_UP) + 1
    assert max(sizes[warm:]) - max(sizes[:warm]) < MAX_GROWTH_BYTES


def assert_complete(order_ids: Iterable[str]) -> None:
    """Each order is there once."""
    found = bytearray(ENTRIES_TO_EXPORT)
    for order_id in order_ids:
        found[int(order_id.removeprefix("order-"))] += 1
    assert found.count(1) == ENTRIES_TO_EXPORT


async def test_ndjson_is_complete_and_goes_on_where_it_was_cut(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "all"
    await download(served, file, "ndjson")
    with file.open("rb") as lines:
        assert_complete(json.loads(line)["orderId"] for line in lines)
    with file.open("rb") as lines:
        *_, last = islice(lines, CUT_AT)
        rest = sha256(lines.read()).digest()
    after = json.loads(last)["cursor"]
    resumed = sha256()
    async for piece in pieces(served[0], format="ndjson", after=after):
        resumed.update(piece)
    assert resumed.digest() == rest


async def test_csv_is_complete(served: Served, tmp_path: Path) -> None:
    await download(served, tmp_path / "all", "csv")
    with (tmp_path / "all").open(encoding="utf-8") as lines:
        header, *_ = islice(lines, 1)
        assert header.startswith("orderId,")
        assert_complete(line.split(",", 1)[0] for line in lines)


async def test_xlsx_is_complete(served: Served, tmp_path: Path) -> None:
    await download(served, tmp_path / "all", "xlsx")
    with zipfile.ZipFile(tmp_path / "all") as book:
        counts = [count_rows(book, name) for name in book.namelist() if name.startswith("xl/worksheets/")]
    assert sum(counts) - len(counts) == ENTRIES_TO_EXPORT
    assert max(counts) <= MAX_SHEET_ROWS + 1


def count_rows(book: zipfile.ZipFile, name: str) -> int:
    """Count a sheet's rows, with the header."""
    count, rest = 0, b""
    with book.open(name) as sheet:
        while piece := sheet.read(2**20):
            count += (rest + piece).count(b"</row>")
            rest = piece[1 - len(b"</row>") :]
    return count
