"""Catalogue files: read line by line, loaded whole, kept in line."""

import io
import json
import os
from pathlib import Path
from typing import cast

import pytest

from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.producer import Producer, ProducerRecord
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import REPOSITORY
from services.cli.catalog_file import Product, load, outgoing, read_products
from services.cli.catalog_sync import Changes, Keeper
from services.cli.decode import Decoded, decoded

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
        Product(608, "1", None, withdrawn=True),
        Product(608, "2", None, withdrawn=True),
        Product(608, "3", None),
        Product(608, "4", None),
        Product(608, "5", None, withdrawn=True),
    ]


def test_a_mark_in_front_of_the_header_line_is_left_out() -> None:
    assert read("\ufeffsite,productId\n608,1\n") == [Product(608, "1", None)]


@pytest.mark.parametrize("name", ["products.ndjson", "products.jsonl"])
def test_ndjson_has_an_object_a_line(name: str) -> None:
    lines = [{"site": 608, "productId": "4556", "name": "Shoe"}, {"site": 608, "productId": 7, "withdrawn": True}]
    text = "\n\n".join(map(json.dumps, lines)) + "\n"
    assert read(text, name) == [Product(608, "4556", "Shoe"), Product(608, "7", None, withdrawn=True)]


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
        ("product\n1\n", "p.csv", "line 1: site,productId,name is expected"),
        ("608,1\n", "p.csv", "line 1: site,productId,name is expected"),
        ("site,product\n", "p.csv", "line 1: site,productId,name is expected"),
        ("", "p.csv", "line 1: site,productId,name is expected"),
        ('{"site":608,"productId":"1"}\n{"site":608}\n', "p.ndjson", "line 2: site,productId,name is expected"),
        ("{\n", "p.ndjson", "line 1"),
        ('[608,"1"]\n', "p.ndjson", "line 1: site,productId,name is expected"),
        ('{"site":608,"productId":"1","name":5}\n', "p.ndjson", "line 1: name must be a text"),
    ],
)
def test_a_line_that_is_none_is_told_with_its_number(text: str, name: str, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        read(text, name)


def test_a_file_that_is_no_text_is_told() -> None:
    with pytest.raises(ValueError, match="is no text"):
        list(read_products(io.BytesIO(b"site,productId\n608,\xff\xfe\n"), name="p.csv"))


def test_a_product_is_a_record_of_its_schema_and_a_withdrawn_one_has_no_value() -> None:
    made = outgoing(Product(608, "a|b", "Shoe"), PRODUCT)
    assert made.key == b"608|a%7Cb"
    record = decoded(made.value, (), SCHEMAS)
    assert isinstance(record, Decoded)
    assert record.record == {"site": 608, "productId": "a|b", "name": "Shoe"}
    assert outgoing(Product(608, "1", "Shoe", withdrawn=True), PRODUCT) == ProducerRecord(b"608|1", None)


class Sent:
    """A producer that keeps what it is given, unless Kafka is away."""

    def __init__(self, *, is_away: bool = False) -> None:
        self.lots: list[list[ProducerRecord]] = []
        self._is_away = is_away

    async def send_by_key(self, _: str, records: list[ProducerRecord]) -> None:
        if self._is_away:
            raise UnavailableError("Kafka")
        self.lots.append(list(records))

    @property
    def keys(self) -> dict[bytes | None, bool]:
        """What was last said of each key: whether it is there."""
        return {record.key: record.value is not None for lot in self.lots for record in lot}

    def as_producer(self) -> Producer:
        return cast("Producer", self)


async def test_a_large_file_goes_in_lots_and_tells_how_far_it_is(tmp_path: Path) -> None:
    path = tmp_path / "products.csv"
    path.write_text("site,productId\n" + "".join(f"608,p{number}\n" for number in range(25_000)))
    sent, told = Sent(), []
    count = await load(
        path, producer=sent.as_producer(), schema=PRODUCT, progress=lambda sent, read: told.append((sent, read))
    )
    assert count == 25_000
    assert [len(lot) for lot in sent.lots] == [10_000, 10_000, 5_000]
    assert [count for count, _ in told] == [10_000, 20_000, 25_000]
    assert told[-1][1] == path.stat().st_size


async def test_what_comes_through_a_pipe_is_loaded_too() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"site,productId\n608,1\n")
    os.close(writing)
    sent, told = Sent(), []
    path = Path(f"/dev/fd/{reading}")
    count = await load(
        path, producer=sent.as_producer(), schema=PRODUCT, progress=lambda sent, read: told.append((sent, read))
    )
    os.close(reading)
    assert count == 1
    assert list(sent.keys) == [b"608|1"]
    assert told == [(1, 0)]


async def keep(keeper: Keeper, path: Path, text: str) -> tuple[Changes, dict[bytes | None, bool]]:
    path.write_text(text)  # noqa: ASYNC240 - nobody else waits
    sent = Sent()
    return await keeper.keep(path, sent.as_producer()), sent.keys


async def test_the_catalogue_is_kept_as_the_file_is(tmp_path: Path) -> None:
    path, keeper = tmp_path / "products.csv", Keeper(PRODUCT)
    for known in (Product(608, "1", "One"), Product(608, "old", None), Product(609, "theirs", None)):
        made = outgoing(known, PRODUCT)
        keeper.apply(made.key or b"", made.value)
    head = "site,productId,name\n"
    changes, keys = await keep(keeper, path, head + "608,1,One\n608,2,Two\n")
    assert changes == Changes(published=1, withdrawn=1)
    assert keys == {b"608|2": True, b"608|old": False}
    assert (await keep(keeper, path, head + "608,1,One\n608,2,Two\n")) == (Changes(0, 0), {})
    assert (await keep(keeper, path, head + "608,1,Uno\n608,2,Two\n"))[1] == {b"608|1": True}
    # All products of a site may go; those of sites that were never named stay.
    assert (await keep(keeper, path, head))[1] == {b"608|1": False, b"608|2": False}


async def test_a_product_that_the_file_calls_withdrawn_is_withdrawn(tmp_path: Path) -> None:
    """Though its site has no other, and whatever an earlier line says."""
    path, keeper = tmp_path / "products.csv", Keeper(PRODUCT)
    for site in (608, 609):
        made = outgoing(Product(site, "1", "One"), PRODUCT)
        keeper.apply(made.key or b"", made.value)
    text = "site,productId,name,withdrawn\n608,1,One,yes\n609,1,One,\n609,1,One,yes\n609,2,Two,\n"
    assert await keep(keeper, path, text) == (
        Changes(published=1, withdrawn=2),
        {b"608|1": False, b"609|1": False, b"609|2": True},
    )


async def test_a_product_that_somebody_withdrew_comes_back(tmp_path: Path) -> None:
    path, keeper = tmp_path / "products.csv", Keeper(PRODUCT)
    made = outgoing(Product(608, "1", "One"), PRODUCT)
    for value in (made.value, None):
        keeper.apply(made.key or b"", value)
    assert (await keep(keeper, path, "site,productId,name\n608,1,One\n"))[1] == {b"608|1": True}


async def test_what_kafka_did_not_take_is_sent_again(tmp_path: Path) -> None:
    path, keeper = tmp_path / "products.csv", Keeper(PRODUCT)
    await keep(keeper, path, "site,productId,name\n608,old,\n")
    path.write_text("site,productId,name\n608,1,One\n")
    with pytest.raises(UnavailableError):
        await keeper.keep(path, Sent(is_away=True).as_producer())
    again = Sent()
    assert await keeper.keep(path, again.as_producer()) == Changes(published=1, withdrawn=1)
    assert again.keys == {b"608|1": True, b"608|old": False}


async def test_a_file_that_is_half_written_changes_nothing(tmp_path: Path) -> None:
    path, keeper = tmp_path / "products.csv", Keeper(PRODUCT)
    await keep(keeper, path, "site,productId,name\n608,1,One\n")
    with pytest.raises(ValueError, match="line 3"):
        await keep(keeper, path, "site,productId,name\n608,1,One\n60")
    assert (await keep(keeper, path, "site,productId,name\n608,1,One\n"))[0] == Changes(0, 0)
