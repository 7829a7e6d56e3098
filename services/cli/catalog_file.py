"""Products into the catalogue, from CSV (`site,productId,name[,withdrawn]`) or from NDJSON with the same names."""

import csv
import io
import re
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from fastavro import schemaless_writer
from msgspec import DecodeError, json

from services import topics
from services.chassis.avro.schemas import Schema
from services.chassis.kafka.producer import Producer, ProducerRecord
from services.sales.keys import build_key
from services.values.identifiers import read_identifier
from services.values.invalid import Invalid

TOPIC = topics.CATALOG_PRODUCTS.name
_LOT = 10_000
_NDJSON = frozenset({".ndjson", ".jsonl"})
_YES = frozenset({"1", "true", "yes"})
_NUMBER = re.compile("[0-9]{1,19}")
_LARGEST_SITE = 2**63 - 1

# Told how many products are sent, and how many bytes of the file are read.
Progress = Callable[[int, int], None]


class Product(NamedTuple):
    """One line of a catalogue file."""

    site: int
    product_id: str
    name: str | None
    withdrawn: bool = False


def read_products(file: BinaryIO, *, name: str) -> Generator[Product, None, None]:
    """The products of an open file; raises ValueError with the line's number for one that cannot be read.

    `name` tells what the file is: NDJSON if it ends in .ndjson or .jsonl, CSV with a header line otherwise.
    """
    rows = _ndjson_rows(file) if Path(name).suffix in _NDJSON else _csv_rows(file)
    try:
        with closing(rows):
            for number, row in rows:
                try:
                    yield _product(row)
                except (KeyError, TypeError, ValueError) as error:
                    raise ValueError(f"{name}, line {number}: {_why(error)}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{name} is no text: {error}") from error


def _csv_rows(file: BinaryIO) -> Generator[tuple[int, Mapping[str, Any]], None, None]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        rows = csv.DictReader(text)
        if not {"site", "productId"} <= set(rows.fieldnames or ()):
            yield 1, {}
        yield from enumerate(rows, start=2)
    finally:
        text.detach()


def _ndjson_rows(file: BinaryIO) -> Generator[tuple[int, Mapping[str, Any]], None, None]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            try:
                row = json.decode(line)
            except DecodeError:
                row = {}
            yield number, row if isinstance(row, dict) else {}


def _product(row: Mapping[str, Any]) -> Product:
    product_id = read_identifier(row["productId"])
    if isinstance(product_id, Invalid):
        raise ValueError(f"productId {product_id.phrase}")  # noqa: TRY004 - the line is wrong
    name = row.get("name") or None
    if name is not None and not isinstance(name, str):
        raise TypeError("name must be a text")
    return Product(_site(row["site"]), product_id, name, str(row.get("withdrawn") or "").lower() in _YES)


def _site(given: object) -> int:
    is_number = isinstance(given, int) and not isinstance(given, bool)
    text = str(given).strip() if is_number or isinstance(given, str) else ""
    if not _NUMBER.fullmatch(text) or int(text) > _LARGEST_SITE:
        raise ValueError("site must be a whole number")
    return int(text)


def _why(error: Exception) -> str:
    return "site,productId,name is expected" if isinstance(error, KeyError) else str(error)


async def load(
    path: Path, *, producer: Producer, schema: Schema, progress: Progress = lambda _sent, _read: None
) -> int:
    """Publish every product of the file and return how many; raises `Away` or ValueError.

    `progress` is told how many were sent and how many bytes were read: 0 of a pipe, which does not say.
    """
    with path.open("rb") as file, closing(read_products(file, name=path.name)) as products:
        return await publish(
            (outgoing(product, schema) for product in products),
            producer=producer,
            progress=lambda sent: progress(sent, file.tell() if file.seekable() else 0),
        )


async def publish(
    records: Iterable[ProducerRecord], *, producer: Producer, progress: Callable[[int], None] = lambda _sent: None
) -> int:
    """Send records in lots and return how many; raises `Away`."""
    count = 0
    lot: list[ProducerRecord] = []
    for record in records:
        lot.append(record)
        if len(lot) >= _LOT:
            await producer.send_by_key(TOPIC, lot)
            count += len(lot)
            progress(count)
            lot.clear()
    if lot:
        await producer.send_by_key(TOPIC, lot)
        progress(count + len(lot))
    return count + len(lot)


def outgoing(product: Product, schema: Schema) -> ProducerRecord:
    """A product as the catalogue has it."""
    key = build_key(product.site, product.product_id)
    if product.withdrawn:
        return ProducerRecord(key, None)
    body = io.BytesIO()
    body.write(schema.prefix)
    schemaless_writer(
        body, schema.parsed, {"site": product.site, "productId": product.product_id, "name": product.name}, strict=True
    )
    return ProducerRecord(key, body.getvalue())
