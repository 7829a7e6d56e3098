"""Reads products from CSV (`site,productId,name[,withdrawn]`) or NDJSON and publishes them to the catalogue."""

import csv
import io
import re
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from services import topics
from services.chassis.avro.records import encode_record
from services.chassis.avro.schemas import Schema
from services.chassis.kafka.producer import Producer, ProducerRecord
from services.sales.wire import build_key
from services.values.identifiers import LONE_SURROGATE, has_lone_surrogate, read_identifier
from services.values.invalid import Invalid
from services.values.sites import MAX_NUMBER
from services.values.strict_json import JsonSyntaxError, parse

TOPIC = topics.CATALOG_PRODUCTS.name
_BATCH_SIZE = 10_000
_NDJSON_SUFFIXES = frozenset({".ndjson", ".jsonl"})
# Where the text of a line without fields is kept.
_HEADER = ""
_TRUE_WORDS = frozenset({"1", "true", "yes"})
_SITE_PATTERN = re.compile("[0-9]{1,19}")

# Called with the number of products sent and of file bytes read.
OnProgress = Callable[[int, int], None]


class Product(NamedTuple):
    """One line of a catalogue file."""

    site: int
    product_id: str
    name: str | None
    is_withdrawn: bool = False


def read_products(file: BinaryIO, *, name: str) -> Generator[Product, None, None]:
    """Yield the products of an open file; raises ValueError with the number of an invalid line.

    A `name` that ends in .ndjson or .jsonl means NDJSON, any other CSV with a header line.
    """
    rows = _ndjson_rows(file) if Path(name).suffix in _NDJSON_SUFFIXES else _csv_rows(file)
    try:
        with closing(rows):
            for number, row in rows:
                try:
                    yield _parse_product(row)
                except (KeyError, TypeError, ValueError) as error:
                    raise ValueError(f"{name}, line {number}: {_describe_error(error, row)}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{name} is not valid text: {error}") from error


def _csv_rows(file: BinaryIO) -> Generator[tuple[int, Mapping[str, Any]], None, None]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        rows = csv.DictReader(text)
        if not {"site", "productId"} <= set(rows.fieldnames or ()):
            yield 1, {_HEADER: ",".join(rows.fieldnames or ())}
        yield from enumerate(rows, start=2)
    finally:
        text.detach()


def _ndjson_rows(file: BinaryIO) -> Generator[tuple[int, Mapping[str, Any]], None, None]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            try:
                row = parse(line, keep_surrogates=True)
            except JsonSyntaxError:
                row = None
            yield number, row if isinstance(row, dict) else {_HEADER: line.decode(errors="replace")}


def _parse_product(row: Mapping[str, Any]) -> Product:
    product_id = read_identifier(row["productId"])
    if isinstance(product_id, Invalid):
        raise ValueError(f"productId {product_id.phrase}")  # noqa: TRY004 - the line is invalid, not the code
    name = row.get("name") or None
    if name is not None and not isinstance(name, str):
        raise TypeError("name must be a string")
    if name is not None and has_lone_surrogate(name):
        raise ValueError(f"name {LONE_SURROGATE.phrase}")
    return Product(_parse_site(row["site"]), product_id, name, str(row.get("withdrawn") or "").lower() in _TRUE_WORDS)


def _parse_site(value: object) -> int:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    text = str(value).strip() if is_number or isinstance(value, str) else ""
    if not _SITE_PATTERN.fullmatch(text) or int(text) > MAX_NUMBER:
        raise ValueError("site must be a whole number")
    return int(text)


def _describe_error(error: Exception, row: Mapping[str, Any]) -> str:
    if not isinstance(error, KeyError):
        return str(error)
    is_json = str(row.get(_HEADER, "")).lstrip().startswith(("[", "{"))
    hint = "; write one JSON object a line, in a file that ends in .ndjson or .jsonl" if is_json else ""
    return f"expected site,productId,name{hint}"


async def load_file(
    path: Path, *, producer: Producer, schema: Schema, on_progress: OnProgress = lambda _sent, _read: None
) -> int:
    """Publish every product of the file and return their number. Raises `UnavailableError` or ValueError.

    `on_progress` gets 0 bytes read if the file is a pipe.
    """
    with path.open("rb") as file, closing(read_products(file, name=path.name)) as products:
        return await publish(
            (to_record(product, schema) for product in products),
            producer=producer,
            on_progress=lambda sent: on_progress(sent, file.tell() if file.seekable() else 0),
        )


async def publish(
    records: Iterable[ProducerRecord], *, producer: Producer, on_progress: Callable[[int], None] = lambda _sent: None
) -> int:
    """Send records in batches and return their number. Raises `UnavailableError`."""
    count = 0
    batch: list[ProducerRecord] = []
    for record in records:
        batch.append(record)
        if len(batch) >= _BATCH_SIZE:
            await producer.send_by_key(TOPIC, batch)
            count += len(batch)
            on_progress(count)
            batch.clear()
    if batch:
        await producer.send_by_key(TOPIC, batch)
        on_progress(count + len(batch))
    return count + len(batch)


def to_record(product: Product, schema: Schema) -> ProducerRecord:
    """Encode a product for the catalogue's topic; a withdrawn one becomes a tombstone."""
    key = build_key(product.site, product.product_id)
    if product.is_withdrawn:
        return ProducerRecord(key, None)
    fields = {"site": product.site, "productId": product.product_id, "name": product.name}
    return ProducerRecord(key, encode_record(fields, schema))
