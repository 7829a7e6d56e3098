"""Customers are sites, as configured by the sites topic."""

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.fulfilment.adapters.customers import SiteCustomers
from services.fulfilment.domain.customer import BillingDetails, Customer
from services.values.sites import Site
from tests.fulfilment.harness import SITE


def customers(**more: Any) -> SiteCustomers:
    site = Site(site=SITE, name="A harness", app_id=1, root_source="web", datacenter="eu", **more)
    return SiteCustomers({SITE: site})  # type: ignore[arg-type]


def test_a_customer_has_the_zone_and_the_address_of_the_site() -> None:
    address = {"invoice_address": "1 Main St\nTown", "tax_id": "DE 1"}
    found = customers(time_zone="Asia/Tokyo", **address, invoice_email="bills@harness.example").get(SITE)
    assert found == Customer(
        ZoneInfo("Asia/Tokyo"), BillingDetails(SITE, "A harness", "bills@harness.example", "1 Main St\nTown", "DE 1")
    )
    assert customers().get(SITE) == Customer(ZoneInfo("UTC"), BillingDetails(SITE, "A harness", None))


def test_a_site_that_is_not_there_is_no_customer() -> None:
    assert customers().get(SITE + 1) is None


@pytest.mark.parametrize("zone", ["Nowhere/Land", "", "../etc/passwd", "Europe"])
def test_where_the_zone_is_unknown_days_are_those_of_utc(zone: str) -> None:
    """Auth rejects these, but the topic may have other writers; days of other customers must still be closed."""
    found = customers(time_zone=zone).get(SITE)
    assert found is not None
    assert found.time_zone == ZoneInfo("UTC")
