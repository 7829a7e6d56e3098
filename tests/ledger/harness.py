"""A ledger on a real MongoDB, without Kafka and HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from uuid import uuid4
from zoneinfo import ZoneInfo

from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.errors import ContentionError
from services.chassis.runtime.settings import MongoSettings
from services.ledger.adapters.collections import MOVEMENTS, create_indexes
from services.ledger.adapters.entries import MongoEntryReader
from services.ledger.adapters.erasures import MongoErasures
from services.ledger.adapters.ledger import MongoLedger
from services.ledger.adapters.site_keys import SiteKeys
from services.ledger.adapters.sums import MongoSums
from services.ledger.domain.entries import Entry, GroupKey
from services.ledger.domain.report import ReportQuery
from services.ledger.domain.sums import Sums, add_to
from services.ledger.flows import audit, erase_user, expire_entries, queries, rebuild, record_sales
from services.ledger.wire.documents import movement_from
from services.sales.records import SalesRecord

PARTITION = "orders.validated.v1|0"


_FOLDING = asyncio.Lock()


class FakeZones:
    """Zones that tests change."""

    def __init__(self, zone: str = "UTC") -> None:
        self.zone = zone

    def of_site(self, _site: int) -> str:
        return self.zone

    def get(self, name: str) -> tzinfo:
        return ZoneInfo(name)


class Harness:
    """The flows with everything that they need."""

    def __init__(
        self,
        mongo: Mongo,
        *,
        ledger: Callable[..., MongoLedger] = MongoLedger,
        sums: Callable[[Mongo], MongoSums] = MongoSums,
    ) -> None:
        self.mongo = mongo
        self.now = datetime(2026, 11, 30, tzinfo=UTC)
        self.zones = FakeZones()
        self.keys = SiteKeys(b"s" * 32)
        fingerprint = self.keys.user_fingerprint
        self.ledger = ledger(mongo, now=lambda: self.now, user_fingerprint=fingerprint)
        self.sums = sums(mongo)
        self.entries = MongoEntryReader(mongo)
        self.erasures = MongoErasures(mongo, user_fingerprint=fingerprint)
        self.record_deps = record_sales.Deps(
            ledger=self.ledger,
            zones=self.zones,
            site_key=self.keys.of_site,
            now_us=self.now_us,
            new_id=lambda: uuid4().hex,
        )
        self.audit_deps = audit.Deps(reports=self.sums, zones=self.zones, now_us=self.now_us)
        self.query_deps = queries.Deps(
            entries=self.entries, reports=self.sums, zones=self.zones, as_of_us=lambda: 1_700_000_000_000_000
        )
        self.rebuild_deps = rebuild.Deps(
            ledger=self.ledger, sums=self.sums, zones=self.zones, now_us=self.now_us, new_id=lambda: uuid4().hex
        )
        self.erase_deps = erase_user.Deps(
            ledger=self.ledger,
            erasures=self.erasures,
            zones=self.zones,
            site_key=self.keys.of_site,
            now_us=self.now_us,
            new_id=lambda: uuid4().hex,
        )
        self.expire_deps = expire_entries.Deps(
            ledger=self.ledger, zones=self.zones, now=lambda: self.now, new_id=lambda: uuid4().hex
        )

    def now_us(self) -> int:
        return int(self.now.timestamp() * 1_000_000)

    async def record(self, *records: SalesRecord, partition: str = PARTITION, end: int = 1) -> int:
        await self.ledger.add_partitions([partition])
        return await record_sales.record_sales(records, self.record_deps, offsets={partition: end})

    async def fold(self) -> None:
        """Fold everything, also that of tests that run at the same time."""
        async with _FOLDING:
            while True:
                try:
                    if not (await self.sums.fold()).count:
                        return
                except ContentionError:
                    continue

    async def audit(self, site: int) -> audit.Audit:
        return await audit.audit(site, self.audit_deps)

    async def rebuild(self, site: int) -> int | None:
        return await rebuild.rebuild(site, self.rebuild_deps)

    async def erase(self, site: int, user_id: str) -> None:
        await erase_user.request_erasure(site, user_id, self.erase_deps)
        await erase_user.erase_pending(self.erase_deps)

    async def expire(self, *, days: int) -> int:
        return await expire_entries.expire_entries(self.expire_deps, retention=timedelta(days=days))

    async def report(self, site: int, query: ReportQuery, *, zone: str | None = None) -> queries.Report:
        return await queries.get_report(site, query, self.query_deps, zone=zone)

    async def find(self, site: int, order_id: str) -> list[Entry]:
        return await self.entries.find_order(GroupKey(site, order_id))

    async def stored_sums(self, site: int) -> tuple[Sums, Sums]:
        """All sums of the site, those not folded included: of all stores, and by store."""
        async with self.sums.view() as view:
            book = await view.book(site)
            if book is None:
                return {}, {}
            stored = await view.all_sums(book)
            parts = await view.unfolded(book)
        assert not parts, "fold first"
        return stored.all_stores, stored.by_store

    async def published(self, site: int) -> Sums:
        """The sum of all rows for the topic: nothing publishes and deletes them here."""
        sums: Sums = {}
        async for document in self.mongo.collection(MOVEMENTS).find({"parts.site": site}):
            for part in movement_from(document).parts:
                if part.site == site and part.is_published:
                    add_to(sums, part.sums)
        return sums


@asynccontextmanager
async def open_mongo(uri: str, driver: str = "motor") -> AsyncIterator[Mongo]:
    """A database of its own with the ledger's indexes, dropped at the end."""
    settings = MongoSettings.model_validate(
        {
            "mongodb_uri": uri,
            "mongodb_database": f"ledger{uuid4().hex[:12]}",
            "mongo_driver": driver,
            "mongodb_timeout_ms": 60_000,
        }
    )
    mongo = Mongo.connect(settings)
    try:
        await create_indexes(mongo)
        yield mongo
        await mongo.client.drop_database(settings.mongodb_database)
    finally:
        await mongo.close()
