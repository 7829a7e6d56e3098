"""The configuration that jobs show, from the table of sites."""

from typing import cast

from msgspec import structs

from services.chassis.security.sites import Sites
from services.status.adapters.site_profiles import UNKNOWN_SITE, CachedSiteProfiles
from services.status.domain.profile import SiteProfile
from services.values.sites import ApiKey, Site

DEMO = Site(
    site=608,
    name="Demo",
    app_id=1078,
    root_source="omnichannel-api/qa",
    datacenter="qa",
    api_keys=(ApiKey(api_key="12345"),),
)


class FakeSites:
    """Sites by number."""

    def __init__(self, *sites: Site) -> None:
        self.sites = {site.site: site for site in sites}

    def get(self, site: int) -> Site | None:
        return self.sites.get(site)


def test_a_job_is_shown_with_what_its_site_is_told_to_be_now() -> None:
    sites = FakeSites(DEMO)
    profiles = CachedSiteProfiles(cast("Sites", sites))
    assert profiles.get(608) is profiles.get(608), "it is made once"
    assert profiles.get(608) == SiteProfile(1078, "omnichannel-api/qa", "qa")
    sites.sites[608] = structs.replace(DEMO, datacenter="eu")
    assert profiles.get(608) == SiteProfile(1078, "omnichannel-api/qa", "eu")


def test_a_job_of_a_site_that_is_gone_stops_no_other() -> None:
    sites = FakeSites(DEMO)
    profiles = CachedSiteProfiles(cast("Sites", sites))
    assert profiles.get(609) is UNKNOWN_SITE
    profiles.get(608)
    sites.sites.clear()
    assert profiles.get(608) is UNKNOWN_SITE
