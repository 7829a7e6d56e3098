"""Catalogue files: parsed line by line, loaded, synchronised."""

import io
import json
import os
from pathlib import Path
from typing import cast

import pytest

from services.chassis.avro.record_decoder import DecodedRecord, decode_record
from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.producer import Producer, ProducerRecord
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import REPOSITORY
from services.cli.catalog_file import Product, load_file, read_products, to_record
from services.cli.catalog_sync import CatalogSync, Changes

SCHEMAS = Schemas.load(REPOSITORY / "schemas")
PRODUCT = SCHEMAS["product"]


def read(text: str, name: str = "products.csv") -> list[Product]:
    return list(read_products(io.BytesIO(text.encode()), name=name))


def test_csv_has_a_header_line_and_a_product_a_line() -> None:
    assert read('site,productId,name\n608,4556,Shoe\n609,a|b,"A, B"\n608,7,\n') == [
        Product(608, "4556", "Shoe"),
        Product(609, "a|b", "A, B"),
        Product(608, "7", None),
    ]


def test_a_product_may_be_withdrawn() -> None:
    assert read("site,productId,withdrawn\n608,1,yes\n608,2,TRUE\n608,3,no\n608,4,\n608,5,1\n") == [
        Product(608, "1", None, is_withdrawn=True),
        Product(608, "2", None, is_withdrawn=True),
        Product(608, "3", None),
        Product(608, "4", None),
        Product(608, "5", None, is_withdrawn=True),
    ]


def test_a_mark_in_front_of_the_header_line_is_left_out() -> None:
    assert read("\ufeffsite,productId\n608,1\n") == [Product(608, "1", None)]


@pytest.mark.parametrize("name", ["products.ndjson", "products.jsonl"])
def test_ndjson_has_an_object_a_line(name: str) -> None:
    lines = [{"site": 608, "productId": "4556", "name": "Shoe"}, {"site": 608, "productId": 7, "withdrawn": True}]
    text = "\n\n".join(map(json.dumps, lines)) + "\n"
    products = [Product(608, "4556", "Shoe"), Product(608, "7", None, is_withdrawn=True)]
    assert read(text, name) == products
    assert read("\ufeff" + text, name) == products


@pytest.mark.parametrize(
    ("text", "name", "line"),
    [
        ("site,productId\n608,1\nx,2\n", "p.csv", "line 3: site must be a whole number"),
        ("site,productId\n-1,1\n", "p.csv", "line 2: site must be a whole number"),
        (f"site,productId\n{2**63},1\n", "p.csv", "line 2: site must be a whole number"),
        ("site,productId\n" + "9" * 5000 + ",1\n", "p.csv", "line 2: site must be a whole number"),
        ('{"site":608.5,"productId":"1"}\n', "p.ndjson", "line 1: site must be a whole number"),
        ('{"site":true,"productId":"1"}\n', "p.ndjson", "line 1: site must be a whole number"),
        ("site,productId\n608,\n", "p.csv", "line 2: productId"),
        ("site,productId\n608,1\n608," + "x" * 129 + "\n", "p.csv", "line 3: productId"),
        ("site,productId\n608\n", "p.csv", "line 2"),
        ("product\n1\n", "p.csv", "line 1: expected site,productId,name"),
        ("608,1\n", "p.csv", "line 1: expected site,productId,name"),
        ("site,product\n", "p.csv", "line 1: expected site,productId,name"),
        ("", "p.csv", "line 1: expected site,productId,name"),
        ('{"site":608,"productId":"1"}\n{"site":608}\n', "p.ndjson", "line 2: expected site,productId,name"),
        ("{\n", "p.ndjson", "line 1: expected site,productId,name; write one JSON object a line"),
        (
            '[{"site":608,"productId":"1"}]\n',
            "array.json",
            "; write one JSON object a line, in a file that ends in .ndjs",
        ),
        ('\ufeff[\n  {"site":608}\n]\n', "array.json", "; write one JSON object a line, in a file that ends in .ndjs"),
        ('[\n  {"site":608}\n]\n', "p.ndjson", "line 1: expected site,productId,name; write one JSON object a line"),
        ('[608,"1"]\n', "p.ndjson", "line 1: expected site,productId,name"),
        ('{"site":608,"productId":"1","name":5}\n', "p.ndjson", "line 1: name must be a string"),
        (r'{"site":608,"productId":"1","name":"a\ud800"}', "p.ndjson", "line 1: name must not contain half of a surr"),
        (r'{"site":608,"productId":"\udc00"}', "p.ndjson", "line 1: productId must not contain half of a surrogate"),
    ],
)
def test_a_line_that_is_none_is_told_with_its_number(text: str, name: str, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        read(text, name)


def test_a_file_that_is_no_text_is_told() -> None:
    with pytest.raises(ValueError, match="is not valid text"):
        list(read_products(io.BytesIO(b"site,productId\n608,\xff\xfe\n"), name="p.csv"))


def test_a_product_is_a_record_of_its_schema_and_a_withdrawn_one_has_no_value() -> None:
    record = to_record(Product(608, "a|b", "Shoe"), PRODUCT)
    assert record.key == b"608|a%7Cb"
    decoded = decode_record(record.value, (), SCHEMAS)
    assert isinstance(decoded, DecodedRecord)
    assert decoded.record == {"site": 608, "productId": "a|b", "name": "Shoe"}
    assert to_record(Product(608, "1", "Shoe", is_withdrawn=True), PRODUCT) == ProducerRecord(b"608|1", None)


class FakeProducer:
    """Records what is sent, or fails as if Kafka were unavailable."""

    def __init__(self, *, is_unavailable: bool = False) -> None:
        self.batches: list[list[ProducerRecord]] = []
        self._is_unavailable = is_unavailable

    async def send_by_key(self, _: str, records: list[ProducerRecord]) -> None:
        if self._is_unavailable:
            raise UnavailableError("Kafka")
        self.batches.append(list(records))

    @property
    def keys(self) -> dict[bytes | None, bool]:
        """Whether each key exists, by its last record."""
        return {record.key: record.value is not None for batch in self.batches for record in batch}

    def as_producer(self) -> Producer:
        return cast("Producer", self)


async def test_a_large_file_goes_in_lots_and_tells_how_far_it_is(tmp_path: Path) -> None:
    path = tmp_path / "products.csv"
    path.write_text("site,productId\n" + "".join(f"608,p{number}\n" for number in range(25_000)))
    producer, progress = FakeProducer(), []
    count = await load_file(
        path,
        producer=producer.as_producer(),
        schema=PRODUCT,
        on_progress=lambda sent, read: progress.append((sent, read)),
    )
    assert count == 25_000
    assert [len(batch) for batch in producer.batches] == [10_000, 10_000, 5_000]
    assert [count for count, _ in progress] == [10_000, 20_000, 25_000]
    assert progress[-1][1] == path.stat().st_size


async def test_what_comes_through_a_pipe_is_loaded_too() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"site,productId\n608,1\n")
    os.close(writing)
    producer, progress = FakeProducer(), []
    path = Path(f"/dev/fd/{reading}")
    count = await load_file(
        path,
        producer=producer.as_producer(),
        schema=PRODUCT,
        on_progress=lambda sent, read: progress.append((sent, read)),
    )
    os.close(reading)
    assert count == 1
    assert list(producer.keys) == [b"608|1"]
    assert progress == [(1, 0)]


async def apply(sync: CatalogSync, path: Path, text: str) -> tuple[Changes, dict[bytes | None, bool]]:
    path.write_text(text)  # noqa: ASYNC240 - nothing else runs
    producer = FakeProducer()
    return await sync.apply_file(path, producer.as_producer()), producer.keys


async def test_the_catalogue_is_kept_as_the_file_is(tmp_path: Path) -> None:
    path, sync = tmp_path / "products.csv", CatalogSync(PRODUCT)
    for known in (Product(608, "1", "One"), Product(608, "old", None), Product(609, "theirs", None)):
        record = to_record(known, PRODUCT)
        sync.on_record(record.key or b"", record.value)
    head = "site,productId,name\n"
    changes, keys = await apply(sync, path, head + "608,1,One\n608,2,Two\n")
    assert changes == Changes(published=1, withdrawn=1)
    assert keys == {b"608|2": True, b"608|old": False}
    assert (await apply(sync, path, head + "608,1,One\n608,2,Two\n")) == (Changes(0, 0), {})
    assert (await apply(sync, path, head + "608,1,Uno\n608,2,Two\n"))[1] == {b"608|1": True}
    # All products of a site may be removed; sites that no file named are left alone.
    assert (await apply(sync, path, head))[1] == {b"608|1": False, b"608|2": False}


async def test_a_product_that_the_file_calls_withdrawn_is_withdrawn(tmp_path: Path) -> None:
    """Even if its site has no other product, and even if an earlier line adds it."""
    path, sync = tmp_path / "products.csv", CatalogSync(PRODUCT)
    for site in (608, 609):
        record = to_record(Product(site, "1", "One"), PRODUCT)
        sync.on_record(record.key or b"", record.value)
    text = "site,productId,name,withdrawn\n608,1,One,yes\n609,1,One,\n609,1,One,yes\n609,2,Two,\n"
    assert await apply(sync, path, text) == (
        Changes(published=1, withdrawn=2),
        {b"608|1": False, b"609|1": False, b"609|2": True},
    )


async def test_a_product_that_somebody_withdrew_comes_back(tmp_path: Path) -> None:
    path, sync = tmp_path / "products.csv", CatalogSync(PRODUCT)
    record = to_record(Product(608, "1", "One"), PRODUCT)
    for value in (record.value, None):
        sync.on_record(record.key or b"", value)
    assert (await apply(sync, path, "site,productId,name\n608,1,One\n"))[1] == {b"608|1": True}


async def test_what_kafka_did_not_take_is_sent_again(tmp_path: Path) -> None:
    path, sync = tmp_path / "products.csv", CatalogSync(PRODUCT)
    await apply(sync, path, "site,productId,name\n608,old,\n")
    path.write_text("site,productId,name\n608,1,One\n")
    with pytest.raises(UnavailableError):
        await sync.apply_file(path, FakeProducer(is_unavailable=True).as_producer())
    again = FakeProducer()
    assert await sync.apply_file(path, again.as_producer()) == Changes(published=1, withdrawn=1)
    assert again.keys == {b"608|1": True, b"608|old": False}


async def test_a_file_that_is_half_written_changes_nothing(tmp_path: Path) -> None:
    path, sync = tmp_path / "products.csv", CatalogSync(PRODUCT)
    await apply(sync, path, "site,productId,name\n608,1,One\n")
    with pytest.raises(ValueError, match="line 3"):
        await apply(sync, path, "site,productId,name\n608,1,One\n60")
    assert (await apply(sync, path, "site,productId,name\n608,1,One\n"))[0] == Changes(0, 0)
