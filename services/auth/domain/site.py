"""A site (tenant) in the store."""

from dataclasses import dataclass

from services.values.sites import Site


@dataclass(frozen=True, slots=True)
class StoredSite:
    """A site and its revision: how often it was stored."""

    site: Site
    revision: int


class ApiKeyConflictError(ValueError):
    """One of the site's API keys belongs to another site."""
