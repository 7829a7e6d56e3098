"""The configuration that a site's jobs show, from the table of sites."""

from services.chassis.security.sites import Sites
from services.status.domain.profile import SiteProfile
from services.status.ports import SiteProfiles

# Nobody can read the jobs of a deleted site, but their events must not block the others.
UNKNOWN_SITE = SiteProfile(0, "omnichannel-api", "")


class CachedSiteProfiles(SiteProfiles):
    """Looks sites up in memory; a site's jobs share one profile object."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites
        self._cached: dict[int, tuple[object, SiteProfile]] = {}

    def get(self, site: int) -> SiteProfile:
        found = self._sites.get(site)
        if found is None:
            return UNKNOWN_SITE
        cached = self._cached.get(site)
        if cached is None or cached[0] is not found:
            profile = SiteProfile(found.app_id, found.root_source, found.datacenter)
            cached = self._cached[site] = (found, profile)
        return cached[1]
