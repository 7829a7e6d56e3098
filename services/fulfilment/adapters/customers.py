"""Customers, from the configuration of sites."""

from services.chassis.runtime.time_zones import load_time_zone
from services.chassis.security.sites import Sites
from services.fulfilment.domain.customer import BillingDetails, Customer
from services.fulfilment.ports import Customers


class SiteCustomers(Customers):
    """Maps each site to a customer."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites

    def get(self, site: int) -> Customer | None:
        found = self._sites.get(site)
        if found is None:
            return None
        billing = BillingDetails(site, found.name, found.invoice_email, found.invoice_address, found.tax_id)
        return Customer(load_time_zone(found.time_zone), billing)
