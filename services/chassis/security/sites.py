"""The configuration of all sites, in memory, from its compacted topic."""

from collections.abc import Iterator

from services.chassis.avro.records import AvroRecordReader
from services.chassis.avro.schemas import Schemas
from services.values.sites import Site


class Sites:
    """Sites by number and by API key. `apply` is for the table that reads the topic."""

    def __init__(self, schemas: Schemas) -> None:
        self._records = AvroRecordReader(schemas, "site")
        self._sites: dict[int, Site] = {}
        self._by_api_key: dict[str, dict[int, Site]] = {}

    def get(self, site: int) -> Site | None:
        """Return the site with this number."""
        return self._sites.get(site)

    def by_api_key(self, api_key: str) -> Site | None:
        """Return the site with this API key."""
        sites = self._by_api_key.get(api_key)
        # A key belongs to one site. If two have it, all services must still pick the same one.
        return sites[min(sites)] if sites else None

    def __len__(self) -> int:
        return len(self._sites)

    def __iter__(self) -> Iterator[Site]:
        return iter(tuple(self._sites.values()))

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Apply one record of the topic; raises `ValueError` without any change if it is invalid."""
        number = int(key)
        site = None if value is None else Site.from_fields(self._records.read(value))
        self._remove(number)
        if site is not None:
            self._add(site)

    def _remove(self, number: int) -> None:
        site = self._sites.pop(number, None)
        # A site may list a key twice.
        for api_key in {key.api_key for key in site.api_keys} if site else ():
            sites = self._by_api_key[api_key]
            sites.pop(number, None)
            if not sites:
                del self._by_api_key[api_key]

    def _add(self, site: Site) -> None:
        self._sites[site.site] = site
        for key in site.api_keys:
            self._by_api_key.setdefault(key.api_key, {})[site.site] = site
