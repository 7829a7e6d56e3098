"""A site (tenant), as its owner configured it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key that stands in request paths, and the channel of records that name none."""

    api_key: str
    channel: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Configuration of one site. `revision` counts stored changes; 0 was never stored."""

    site: int
    name: str
    app_id: int
    root_source: str
    datacenter: str
    time_zone: str = "UTC"
    api_keys: tuple[ApiKey, ...] = ()
    records_per_second: int = 100
    invoice_email: str | None = None
    revision: int = 0


class ApiKeyConflictError(ValueError):
    """One of the site's API keys belongs to another site."""
