"""Time zones of sites, from the table of sites."""

from datetime import tzinfo

from services.chassis.runtime.time_zones import load_time_zone
from services.chassis.security.sites import Sites
from services.ledger.ports import Zones


class SiteZones(Zones):
    """Looks zones up in memory; without `sites`, none has another one than UTC."""

    def __init__(self, sites: Sites | None) -> None:
        self._sites = sites

    def of_site(self, site: int) -> str:
        # UTC for a site that does not exist any more.
        found = None if self._sites is None else self._sites.get(site)
        return "UTC" if found is None else found.time_zone

    def get(self, name: str) -> tzinfo:
        return load_time_zone(name)
