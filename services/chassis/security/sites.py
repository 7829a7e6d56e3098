"""The configuration of all sites, in memory, fed from its compacted topic."""

from collections.abc import Iterator

from services.chassis.avro.records import AvroRecordReader
from services.chassis.avro.schemas import Schemas
from services.values.sites import Site


class Sites:
    """Sites by number and by API key. Give `apply` to the table that reads the topic."""

    def __init__(self, schemas: Schemas) -> None:
        self._records = AvroRecordReader(schemas, "site")
        self._sites: dict[int, Site] = {}
        self._claims: dict[str, dict[int, Site]] = {}

    def get(self, site: int) -> Site | None:
        """The site of this number."""
        return self._sites.get(site)

    def by_api_key(self, api_key: str) -> Site | None:
        """The site whose key this is."""
        claims = self._claims.get(api_key)
        # A key belongs to one site. Should two claim it, every reader must still pick the same one.
        return claims[min(claims)] if claims else None

    def __len__(self) -> int:
        return len(self._sites)

    def __iter__(self) -> Iterator[Site]:
        return iter(tuple(self._sites.values()))

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Take over one record of the topic; raises `ValueError` and changes nothing when it cannot be read."""
        number = int(key)
        site = None if value is None else Site.from_fields(self._records.read(value))
        self._remove(number)
        if site is not None:
            self._add(site)

    def _remove(self, number: int) -> None:
        known = self._sites.pop(number, None)
        # A site may name a key twice.
        for api_key in {key.api_key for key in known.api_keys} if known else ():
            claims = self._claims[api_key]
            claims.pop(number, None)
            if not claims:
                del self._claims[api_key]

    def _add(self, site: Site) -> None:
        self._sites[site.site] = site
        for key in site.api_keys:
            self._claims.setdefault(key.api_key, {})[site.site] = site
