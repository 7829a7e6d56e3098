"""Time zones of sites, from the table of sites."""

from datetime import tzinfo

from services.chassis.runtime.time_zones import load_time_zone
from services.chassis.security.sites import Sites


class SiteZones:
    """Looks zones up in memory."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites

    def of_site(self, site: int) -> str:
        """Return the name of the site's present time zone; UTC for a site that does not exist any more."""
        found = self._sites.get(site)
        return "UTC" if found is None else found.time_zone

    def get(self, name: str) -> tzinfo:
        """Return a time zone by its name."""
        return load_time_zone(name)
