"""Keeps the catalogue of a file's sites as the file has it: what is new is added, what is gone is withdrawn."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from services.chassis.avro.schemas import Schema
from services.chassis.kafka.producer import Producer, ProducerRecord
from services.cli.catalog_file import outgoing, publish, read_products


class Changes(NamedTuple):
    """How many products were published and withdrawn."""

    published: int
    withdrawn: int


class Keeper:
    """Knows what the catalogue holds (`apply` takes the topic's records) and brings a file's sites into line."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._held: dict[bytes, bytes] = {}
        self._sites: set[bytes] = set()

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Take a record of the catalogue's topic."""
        if value is None:
            self._held.pop(key, None)
        else:
            self._held[key] = value

    async def keep(self, path: Path, producer: Producer) -> Changes:
        """Publish what differs. Sites that the file has named before, but names no more, lose their products.

        Raises `Away`, or ValueError where the file cannot be read; then nothing is changed.
        """
        wanted, sites = self._read(path)
        self._sites |= sites
        changed = [(key, value) for key, value in wanted.items() if self._held.get(key) != value]
        gone = [key for key in self._held if key not in wanted and _site(key) in self._sites]
        await publish(_records(changed, gone), producer=producer)
        self._held.update(changed)
        for key in gone:
            del self._held[key]
        return Changes(len(changed), len(gone))

    def _read(self, path: Path) -> tuple[dict[bytes, bytes], set[bytes]]:
        """The products that there shall be, and the sites that the file names. Of equal ones the last counts."""
        named: dict[bytes, bytes | None] = {}
        with path.open("rb") as file, closing(read_products(file, name=path.name)) as products:
            for made in (outgoing(product, self._schema) for product in products):
                if made.key is not None:
                    named[made.key] = made.value
        return {key: value for key, value in named.items() if value is not None}, set(map(_site, named))


def _records(changed: list[tuple[bytes, bytes]], gone: list[bytes]) -> Iterator[ProducerRecord]:
    for key, value in changed:
        yield ProducerRecord(key, value)
    for key in gone:
        yield ProducerRecord(key, None)


def _site(key: bytes) -> bytes:
    return key.partition(b"|")[0]
