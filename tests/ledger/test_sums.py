"""Sums, and what rebuilds, audits, erases and expires them, on a real MongoDB."""

import asyncio
import random
from collections.abc import Sequence
from datetime import timedelta
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.errors import UnavailableError
from services.ledger.adapters import collections
from services.ledger.adapters.collections import ENTRIES, SUMS
from services.ledger.domain.entries import State
from services.ledger.domain.report import Filter, ReportQuery
from services.ledger.domain.sums import day_of, to_date
from services.ledger.domain.versions import MAX_VERSIONS
from services.ledger.flows.erase_user import request_erasure
from services.ledger.flows.queries import Report
from services.ledger.http.responses import report_rows
from services.sales.records import SalesRecord
from tests.ledger.fuzzing import a_stream
from tests.ledger.harness import Harness, open_mongo
from tests.ledger.records import DAY_US, NOON, a_return, an_order

UTC = ZoneInfo("UTC")
DAY = day_of(NOON, UTC)
_SITES = count(1)
COLLECTIONS = [value for name, value in vars(collections).items() if name.isupper() and isinstance(value, str)]


@pytest.fixture
def site() -> int:
    return next(_SITES)


def query(first: int = DAY - 1, last: int = DAY + 2, **options: Any) -> ReportQuery:
    return ReportQuery(first=first, last=last, **options)


def shown(report: Report) -> list[tuple[object, ...]]:
    return [tuple(row) for row in report_rows(report)]


async def test_a_report_has_days_without_sales_and_counts_what_is_not_yet_folded(harness: Harness, site: int) -> None:
    await harness.record(an_order(site=site, coupon="1"), a_return(site=site, value="0.5"))
    before = shown(await harness.report(site, query()))
    await harness.fold()
    assert (
        before
        == shown(await harness.report(site, query()))
        == [
            ("2023-11-13", "web", "USD", 0, 0, "0", "0", 0, "0", "0"),
            ("2023-11-14", "web", "USD", 1, 2, "19.98", "1", 0, "0", "18.98"),
            ("2023-11-15", "web", "USD", 0, 0, "0", "0", 1, "0.5", "-0.5"),
            ("2023-11-16", "web", "USD", 0, 0, "0", "0", 0, "0", "0"),
        ]
    )


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({"by": ("channel",)}, [(None, "EUR", 1), (None, "USD", 1), ("shop", "USD", 1)]),
        ({"by": ("currency", "channel")}, [("EUR", None, 1), ("USD", None, 1), ("USD", "shop", 1)]),
        ({"by": ("channel",), "report_currency": "USD"}, [(None, "USD", 1), (None, "EUR", 1), ("shop", "USD", 1)]),
        ({"by": ("store",), "filter": Filter(currency="USD")}, [(None, "USD", 1), ("s1", "USD", 1)]),
        ({"by": ("mode",), "filter": Filter(channel=None)}, [("online", "EUR", 1), ("online", "USD", 1)]),
        ({"by": ("month",), "filter": Filter(channel="shop")}, [("2023-11", "USD", 1)]),
        ({"by": ("channel",), "filter": Filter(channel="none")}, [("none", "EUR", 0)]),
    ],
)
async def test_dimensions_filters_and_the_sites_own_currency_first(
    harness: Harness, site: int, options: dict[str, Any], rows: list[tuple[object, ...]]
) -> None:
    await harness.record(
        an_order("1", site=site, channel="shop", store="s1"),
        an_order("2", site=site, channel=None),
        an_order("3", site=site, channel=None, currency="EUR"),
    )
    await harness.fold()
    options = {"report_currency": "EUR", **options}
    assert [row[: len(rows[0])] for row in shown(await harness.report(site, query(**options)))] == rows


async def test_a_new_version_moves_what_was_counted(harness: Harness, site: int) -> None:
    await harness.record(an_order(site=site, at=1))
    await harness.fold()
    await harness.record(an_order(site=site, at=2, when=NOON + DAY_US, currency="EUR"))
    await harness.fold()
    assert [row for row in shown(await harness.report(site, query(by=("day",)))) if row[2]] == [
        ("2023-11-15", "EUR", 1, 2, "19.98", "0", 0, "0", "19.98")
    ]
    assert not (await harness.audit(site)).differing


async def test_recording_again_writes_nothing(harness: Harness, site: int) -> None:
    records = [an_order(site=site, at=at, lines=[("p", at, "1")]) for at in range(1, 14)] + [a_return(site=site)]
    assert await harness.record(*records) == 1
    before = await snapshot(harness.mongo, site)
    assert await harness.record(*records) == 0
    assert await harness.record(*reversed(records)) == 0
    assert await snapshot(harness.mongo, site) == before


@pytest.mark.parametrize("seed", range(6))
async def test_any_order_and_any_cut_give_the_same_bytes(mongodb_uri: str, seed: int) -> None:
    """So does a replay from offset 0, into an empty database or into the one that has everything."""
    chance = random.Random(seed)  # noqa: S311 - repeatable
    records, site = a_stream(chance, seed), seed
    async with open_mongo(mongodb_uri, "pymongo") as one, open_mongo(mongodb_uri, "pymongo") as other:
        await record_cut(Harness(one), records, chance)
        await record_cut(Harness(other), chance.sample(records, len(records)), chance)
        recorded = await raw_documents(one, site)
        assert recorded == await raw_documents(other, site)
        await record_cut(Harness(one), records, chance)
        assert await raw_documents(one, site) == recorded


async def record_cut(harness: Harness, records: Sequence[SalesRecord], chance: random.Random) -> None:
    """Record in portions of random sizes, folding in between."""
    start = 0
    while start < len(records):
        end = start + chance.randrange(1, 6)
        await harness.record(*records[start:end])
        if chance.random() < 0.5:
            await harness.fold()
        start = end
    await harness.fold()


async def raw_documents(mongo: Mongo, site: int) -> list[list[bytes]]:
    """The site's entries and sums as MongoDB stores them."""
    options = CodecOptions(document_class=RawBSONDocument)
    return [
        sorted([each.raw async for each in mongo.collection(name).with_options(options).find({"site": site})])
        for name in (ENTRIES, SUMS)
    ]


async def snapshot(mongo: Mongo, site: int) -> list[object]:
    return [[document async for document in mongo.collection(name).find({"site": site})] for name in (ENTRIES, SUMS)]


async def test_an_audit_finds_a_cent_and_a_rebuild_mends_it_while_readers_read(harness: Harness, site: int) -> None:
    await harness.record(*(an_order(str(number), site=site) for number in range(30)), a_return(site=site, order_id="7"))
    await harness.fold()
    right = shown(await harness.report(site, query()))
    changed = await harness.mongo.collection(SUMS).update_one(
        {"site": site, "family": "all", "month": "2023-11", "mode": "online"}, {"$inc": {"days.14.2": 10_000}}
    )
    assert changed.modified_count == 1
    result = await harness.audit(site)
    assert [(to_date(cell.day).isoformat(), amounts.gross) for cell, amounts in result.all_stores.items()] == [
        ("2023-11-14", 10_000)
    ]
    assert result.differing == 1
    wrong = shown(await harness.report(site, query()))
    done = asyncio.Event()

    async def read() -> list[list[tuple[object, ...]]]:
        seen = []
        while not done.is_set():
            seen.append(shown(await harness.report(site, query())))
        return seen

    reader = asyncio.create_task(read())
    writer = asyncio.create_task(
        harness.record(*(an_order(f"late {n}", site=site, when=NOON - 9 * DAY_US) for n in range(9)))
    )
    assert await harness.rebuild(site) in range(30, 40)
    await writer
    done.set()
    assert all(rows in (wrong, right) for rows in await reader)
    assert shown(await harness.report(site, query())) == right
    await harness.fold()
    assert not (await harness.audit(site)).differing
    assert await harness.mongo.collection(SUMS).distinct("generation", {"site": site}) == [2]


async def test_a_site_that_changes_its_zone_changes_its_days_with_the_next_rebuild(harness: Harness, site: int) -> None:
    """23:30 in Tokyo on the 14th is 14:30 in UTC; at 22:13 in UTC Tokyo has the 15th."""
    harness.zones.zone = "UTC"
    await harness.record(an_order("1", site=site), an_order("2", site=site, when=NOON - 8 * 3_600_000_000))
    days = query(by=("day",))

    async def counts(zone: str | None = None) -> dict[object, object]:
        report = await harness.report(site, days, zone=zone)
        return {row[0]: row[2] for row in shown(report) if row[2]} | {"zone": report.zone}

    in_tokyo = {"2023-11-14": 1, "2023-11-15": 1, "zone": "Asia/Tokyo"}
    assert await counts() == {"2023-11-14": 2, "zone": "UTC"}
    assert await counts("Asia/Tokyo") == in_tokyo
    harness.zones.zone = "Asia/Tokyo"
    assert await counts() == {"2023-11-14": 2, "zone": "UTC"}
    await harness.rebuild(site)
    assert await counts() == in_tokyo
    assert await counts("UTC") == {"2023-11-14": 2, "zone": "UTC"}
    await harness.fold()
    assert not (await harness.audit(site)).differing
    # The topic's reader has the days of the new zone, too.
    assert await harness.published(site) == (await harness.stored_sums(site))[1]


async def test_expired_entries_are_deleted_and_stay_counted(harness: Harness, site: int) -> None:
    await harness.record(an_order("old", site=site), a_return(site=site, order_id="old"))
    harness.now += timedelta(days=2)
    await harness.record(an_order("new", site=site))
    await harness.fold()
    before = shown(await harness.report(site, query()))
    assert await harness.expire(days=1) >= 1
    assert await harness.find(site, "old") == []
    assert len(await harness.find(site, "new")) == 1
    assert shown(await harness.report(site, query())) == before
    assert not (await harness.audit(site)).differing
    await harness.rebuild(site)
    assert shown(await harness.report(site, query())) == before
    assert not (await harness.audit(site)).differing
    # A late return finds no order any more.
    await harness.record(a_return("late", site=site, order_id="old"))
    (entry,) = await harness.find(site, "old")
    assert entry.state is State.RETURN_WITHOUT_ORDER


async def test_an_erased_user_is_nowhere_and_a_replay_brings_nothing_back(mongodb_uri: str) -> None:
    user, site = "who-is-this", 5
    records: list[SalesRecord] = [
        an_order("1", site=site, at=1, user=user, email_hash="canary-1", segments=["canary-2"]),
        an_order("1", site=site, at=2, user="other"),
        an_order("2", site=site, at=1, user=user, email_hash="canary-1", segments=["canary-2"]),
        an_order("3", site=site, at=1, user="other"),
        a_return("r", site=site, order_id="3", user=user),
        a_return("r", site=site, order_id="4", user=user, channel="shop"),
    ]
    async with open_mongo(mongodb_uri) as mongo:
        harness = Harness(mongo)
        await harness.record(*records)
        await harness.fold()
        sums = await harness.stored_sums(site)
        assert any(user in text for text in await everything(mongo))
        await harness.erase(site, user)
        assert await harness.stored_sums(site) == sums
        for found in (await everything(mongo), await recorded_again(harness, records)):
            assert not [text for text in found if user in text or "canary" in text]
        await harness.fold()
        assert not (await harness.audit(site)).differing
        pseudonym = (await request_erasure(site, user, harness.erase_deps)).pseudonym
        assert (await harness.find(site, "2"))[0].user_id == pseudonym
        assert (await harness.find(site, "1"))[0].user_id == "other"


async def test_a_version_repeated_while_its_user_is_being_erased_takes_no_place_of_another(
    harness: Harness, site: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = "being-erased"
    versions = [an_order("1", site=site, at=at, user=user if at == 5 else "other") for at in range(MAX_VERSIONS + 1)]
    await harness.record(*versions)
    with monkeypatch.context() as stopped:
        stopped.setattr(harness.ledger, "fence", unavailable)
        with pytest.raises(UnavailableError):
            await harness.erase(site, user)
    await harness.record(versions[5])
    await harness.erase(site, user)
    (entry,) = await harness.find(site, "1")
    assert entry.order is not None
    assert [each.rank.accepted_at for each in entry.order.earlier] == [
        each.accepted_at for each in reversed(versions[:-1])
    ]


async def unavailable() -> None:
    raise UnavailableError("MongoDB")


async def recorded_again(harness: Harness, records: list[SalesRecord]) -> list[str]:
    assert await harness.record(*records) == 0
    await harness.record(an_order("9", site=5, user="who-is-this", email_hash="canary-1"))
    return await everything(harness.mongo)


async def everything(mongo: Mongo) -> list[str]:
    """All documents of all collections, as texts."""
    names = await mongo.client.get_database(mongo._database.name).list_collection_names()
    assert set(COLLECTIONS) <= {*names, "ledger_turns"}
    return [repr(document) for name in names async for document in mongo.collection(name).find({})]
