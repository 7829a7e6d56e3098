"""Customers, from the configuration of sites."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.chassis.runtime.logs import logger
from services.chassis.security.sites import Sites
from services.fulfilment.domain.customer import BillingDetails, Customer
from services.values.sites import Site

_LOG = logger(__name__)


class SiteCustomers:
    """Maps each site to a customer."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites

    def get(self, site: int) -> Customer | None:
        """Return the customer as configured now; None if the site is unknown."""
        found = self._sites.get(site)
        if found is None:
            return None
        return Customer(_time_zone(found), BillingDetails(site, found.name, found.invoice_email))


def _time_zone(site: Site) -> ZoneInfo:
    try:
        return ZoneInfo(site.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a directory of zones
        _LOG.error("unknown time zone, using UTC", site=site.site)
        return ZoneInfo("UTC")
