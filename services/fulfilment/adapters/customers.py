"""Customers, from the sites' configuration."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.chassis.runtime.logs import logger
from services.chassis.security.sites import Sites
from services.fulfilment.domain.customer import Customer
from services.fulfilment.domain.invoice import BillingDetails
from services.values.sites import Site

_LOG = logger(__name__)


class SiteCustomers:
    """A customer is a site."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites

    def get(self, site: int) -> Customer | None:
        """The customer as configured now."""
        found = self._sites.get(site)
        return None if found is None else Customer(_zone(found), BillingDetails(site, found.name, found.invoice_email))


def _zone(site: Site) -> ZoneInfo:
    try:
        return ZoneInfo(site.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of zones is no zone
        _LOG.error("the site's time zone is not known; UTC is used", site=site.site)
        return ZoneInfo("UTC")
