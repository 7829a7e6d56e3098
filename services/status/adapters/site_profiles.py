"""How a site's jobs are to be shown, by the word of the sites' table."""

from services.chassis.security.sites import Sites
from services.status.domain.profile import SiteProfile

# A job of a site that is gone cannot be read by anybody, yet its events must not stop the others.
UNKNOWN_SITE = SiteProfile(0, "omnichannel-api", "")


class CachedSiteProfiles:
    """Looks sites up in memory."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites
        self._cached: dict[int, tuple[object, SiteProfile]] = {}

    def get(self, site: int) -> SiteProfile:
        """The site's configuration as it is now."""
        found = self._sites.get(site)
        if found is None:
            return UNKNOWN_SITE
        known = self._cached.get(site)
        if known is None or known[0] is not found:
            known = self._cached[site] = (found, SiteProfile(found.app_id, found.root_source, found.datacenter))
        return known[1]
