"""Time zones by name."""

from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.chassis.runtime.logs import logger

_LOG = logger(__name__)


@lru_cache(maxsize=1024)
def load_time_zone(name: str) -> ZoneInfo:
    """Return a time zone; UTC, and an error in the log, for a name that this machine does not know."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a directory of zones
        _LOG.error("unknown time zone, using UTC", timeZone=name)
        return ZoneInfo("UTC")
