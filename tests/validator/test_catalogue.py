"""The catalogue in memory."""

import resource
from time import process_time

import pytest

from services.sales.wire import build_key
from services.validator.adapters.catalogue import CatalogueTable
from services.validator.metrics import PRODUCTS

MEBIBYTE = 1024


def a_catalogue(*products: tuple[int, str]) -> CatalogueTable:
    table = CatalogueTable()
    for site, product in products:
        table.apply(build_key(site, product), b"whatever")
    return table


def test_each_site_has_products_of_its_own() -> None:
    table = a_catalogue((608, "4556"), (609, "4557"))
    assert set(table.products(608)) == {"4556"}
    assert set(table.products(609)) == {"4557"}
    assert not table.products(610)


def test_a_record_without_value_withdraws_the_product() -> None:
    table = a_catalogue((608, "4556"), (608, "4557"))
    table.apply(b"608|4556", None)
    table.apply(b"608|never there", None)
    assert set(table.products(608)) == {"4557"}


def test_a_site_is_one_however_it_is_written() -> None:
    table = a_catalogue((608, "4556"))
    table.apply(b"0608|4557", b"")
    table.apply(b"608|4558", b"")
    assert set(table.products(608)) == {"4556", "4557", "4558"}


def test_a_product_needs_no_content() -> None:
    table = a_catalogue((608, "4556"))
    table.apply(b"608|4556", b"")
    assert set(table.products(608)) == {"4556"}


def test_saying_it_twice_changes_nothing() -> None:
    assert a_catalogue((608, "4556"), (608, "4556")).count() == 1


@pytest.mark.parametrize("product", ["a|b", "100%", "%7C", "ä €", "x" * 128])
def test_any_id_comes_through_its_key(product: str) -> None:
    assert set(a_catalogue((608, product)).products(608)) == {product}


@pytest.mark.parametrize(
    "key", [b"", b"608", b"608|", b"|4556", b"x|4556", b"-1|4556", b"\xff|1", b"608|%ff", "٦|1".encode()]
)
def test_a_key_that_is_none_is_refused_and_changes_nothing(key: bytes) -> None:
    table = a_catalogue((608, "4556"))
    with pytest.raises(ValueError):  # noqa: PT011 - any will do
        table.apply(key, b"")
    assert table.count() == 1


def test_the_metric_tells_how_many_there_are() -> None:
    table = a_catalogue((608, "4556"), (609, "4557"))
    assert next(iter(PRODUCTS.collect())).samples[0].value == table.count() == 2


def test_half_a_million_products_take_a_tenth_of_what_five_million_may() -> None:
    """Five million in a gigabyte, and applied in well under a minute."""
    keys = [build_key(608, f"content__{number:08d}") for number in range(500_000)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = process_time()
    table = CatalogueTable()
    for key in keys:
        table.apply(key, b"")
    took_s = process_time() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / MEBIBYTE
    assert table.count() == len(keys)
    assert grown < 100
    assert took_s < 6
