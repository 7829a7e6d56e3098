"""The configuration of all sites, in memory, fed from its compacted topic."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from services.chassis.avro.records import AvroRecordReader
from services.chassis.avro.schemas import Schemas


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key that stands in request paths, and the channel of records that name none."""

    api_key: str
    channel: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One site (tenant), as its services need to know it."""

    site: int
    name: str
    app_id: int
    root_source: str
    datacenter: str
    time_zone: str = "UTC"
    api_keys: tuple[ApiKey, ...] = ()
    records_per_second: int = 100
    invoice_email: str | None = None

    def default_channel(self, api_key: str) -> str | None:
        """The channel of records that came with this key and name none themselves."""
        return next((key.channel for key in self.api_keys if key.api_key == api_key), None)


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
        site = None if value is None else _parse_site(self._records.read(value))
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


def _parse_site(read: Mapping[str, Any]) -> Site:
    return Site(
        site=read["site"],
        name=read["name"],
        app_id=read["appId"],
        root_source=read["rootSource"],
        datacenter=read["datacenter"],
        time_zone=read["timeZone"],
        api_keys=tuple(ApiKey(api_key=key["apiKey"], channel=key["channel"]) for key in read["apiKeys"]),
        records_per_second=read["recordsPerSecond"],
        invoice_email=read["invoiceEmail"],
    )
