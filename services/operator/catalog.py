"""Loads products into the catalogue from CSV: `site,productId,name`, with a header line."""

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from fastavro import schemaless_writer

from services import topics
from services.chassis.producer import Outgoing, Producer
from services.chassis.registry import Schema
from services.sales.keys import key_of

_LOT = 5_000


class Product(NamedTuple):
    """One line of a catalogue file."""

    site: int
    product_id: str
    name: str | None


def read_products(path: Path) -> Iterator[Product]:
    """The products of a file; raises ValueError with the line's number for one that cannot be read."""
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                yield Product(int(row["site"]), row["productId"].strip(), row.get("name") or None)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise ValueError(f"{path.name}, line {number}: site,productId,name is expected") from error


async def load(
    path: Path, *, producer: Producer, schema: Schema, progress: Callable[[int], None] = lambda _count: None
) -> int:
    """Publish every product of the file and return how many; raises `Away` or ValueError."""
    count = 0
    lot: list[Outgoing] = []
    for product in read_products(path):
        lot.append(_outgoing(product, schema))
        if len(lot) >= _LOT:
            await producer.send_by_key(topics.CATALOG_PRODUCTS.name, lot)
            count += len(lot)
            progress(count)
            lot.clear()
    if lot:
        await producer.send_by_key(topics.CATALOG_PRODUCTS.name, lot)
        count += len(lot)
        progress(count)
    return count


def _outgoing(product: Product, schema: Schema) -> Outgoing:
    body = io.BytesIO()
    body.write(schema.prefix)
    schemaless_writer(
        body, schema.parsed, {"site": product.site, "productId": product.product_id, "name": product.name}, strict=True
    )
    return Outgoing(key_of(product.site, product.product_id), body.getvalue())
