"""Derived ids are the same in every release: otherwise stored data could not be found."""

from uuid import UUID, uuid5

import pytest

from services.fulfilment.domain.ids import derive_id
from services.fulfilment.domain.purchase_order import PurchaseOrder
from services.fulfilment.domain.slots import slot_keys, stock_id

SPACE = UUID("6f0f2c1e-4f0e-5c57-9d5e-5e0b7a3c8f11")
ORDER = PurchaseOrder(site=608, business_date="2026-03-04", currency="USD")


@pytest.mark.parametrize("number", range(20))
def test_it_is_a_uuid_of_version_5(number: int) -> None:
    assert derive_id("a", number, "ü") == str(uuid5(SPACE, f"a|{number}|ü"))


@pytest.mark.parametrize(
    ("derived", "expected"),
    [
        (ORDER.id, "774a5bcd-e313-5b78-8307-dce6933f2c5c"),
        (derive_id("invoice", ORDER.id, 0), "deca6949-1e7b-56b2-b5d8-fcd97b25cafe"),
        (stock_id("t:001:0002"), "fe842917-ef93-5fca-8665-ead80d36247a"),
    ],
    ids=["purchase order", "invoice", "unit"],
)
def test_what_was_stored_is_found_again(derived: str, expected: str) -> None:
    assert derived == expected


def test_a_units_slot_is_the_same_alone_and_among_those_of_its_line() -> None:
    slots = list(slot_keys("t", 99, 1_000))
    assert slots == [f"t:099:{unit:04d}" for unit in range(1_000)] == sorted(slots)
