"""Brings the catalogue in line with a file: publishes what differs and withdraws what is gone."""

from contextlib import closing
from itertools import chain, starmap
from pathlib import Path
from typing import NamedTuple

from services.chassis.avro.schemas import Schema
from services.chassis.kafka.producer import Producer, ProducerRecord
from services.cli.catalog_file import publish, read_products, to_record


class Changes(NamedTuple):
    """How many products were published and withdrawn."""

    published: int
    withdrawn: int


class CatalogSync:
    """Compares files with the catalogue, which it follows through `on_record`."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._published: dict[bytes, bytes] = {}
        self._managed_sites: set[bytes] = set()

    def on_record(self, key: bytes, value: bytes | None) -> None:
        """Apply one record of the catalogue's topic."""
        if value is None:
            self._published.pop(key, None)
        else:
            self._published[key] = value

    async def apply_file(self, path: Path, producer: Producer) -> Changes:
        """Publish the differences. A site that an earlier file named and this one does not loses its products.

        Raises `UnavailableError`, or ValueError if the file cannot be read; then nothing is changed.
        """
        products, sites = self._read_file(path)
        self._managed_sites |= sites
        changed = [(key, value) for key, value in products.items() if self._published.get(key) != value]
        removed = [key for key in self._published if key not in products and _get_site(key) in self._managed_sites]
        withdrawn = ((key, None) for key in removed)
        await publish(starmap(ProducerRecord, chain(changed, withdrawn)), producer=producer)
        self._published.update(changed)
        for key in removed:
            del self._published[key]
        return Changes(len(changed), len(removed))

    def _read_file(self, path: Path) -> tuple[dict[bytes, bytes], set[bytes]]:
        """Return the file's products by key, the last line of a product winning, and the sites that it names."""
        values: dict[bytes, bytes | None] = {}
        with path.open("rb") as file, closing(read_products(file, name=path.name)) as products:
            for record in (to_record(product, self._schema) for product in products):
                if record.key is not None:
                    values[record.key] = record.value
        return {key: value for key, value in values.items() if value is not None}, set(map(_get_site, values))


def _get_site(key: bytes) -> bytes:
    return key.partition(b"|")[0]
