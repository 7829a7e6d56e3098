"""How a site's jobs are to be shown, by the word of the sites' table."""

from services.chassis.security.sites import Sites
from services.status.domain.profile import Origin

# A job of a site that is gone cannot be read by anybody, yet its events must not stop the others.
NOBODY = Origin(0, "omnichannel-api", "")


class SiteOrigins:
    """Looks sites up in memory."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites
        self._known: dict[int, tuple[object, Origin]] = {}

    def of(self, site: int) -> Origin:
        """The site's configuration as it is now."""
        found = self._sites.get(site)
        if found is None:
            return NOBODY
        known = self._known.get(site)
        if known is None or known[0] is not found:
            known = self._known[site] = (found, Origin(found.app_id, found.root_source, found.datacenter))
        return known[1]
