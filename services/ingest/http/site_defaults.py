"""What a site's configuration adds to its records."""

from functools import lru_cache
from zoneinfo import ZoneInfo

from services.chassis.security.authentication import Caller
from services.sales.batch import SiteDefaults


def site_defaults(caller: Caller) -> SiteDefaults:
    """Return the defaults of records that the caller sends."""
    site = caller.site
    return SiteDefaults(site.site, _time_zone(site.time_zone), site.default_channel(caller.api_key))


@lru_cache(maxsize=256)
def _time_zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
