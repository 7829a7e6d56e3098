"""Reports: what they sum up, what they are narrowed to, and that files have the same sums."""

import csv
import io
import json
import re
from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal

import httpx2
import pytest
from aiohttp import ClientError

from services.portal.domain.charts import MAX_BARS, bar_chart, columns_chart
from services.portal.domain.sales_report import Period, preset_period
from services.portal.http.reports import parse_filter
from tests.portal.apis import OTHER, RESELLER, Apis, problem
from tests.portal.fake_ledger import Sold
from tests.portal.site import Site

# The day of the tests' clock in Paris.
TODAY = "2026-11-30"
RANGE = "from=2026-11-01&to=2026-11-30"
SOLD = [
    Sold("2026-11-30", "100.10", channel="web"),
    Sold("2026-11-29", "50.005", channel="web", returned="20.005", units=2),
    Sold("2026-11-28", "7", channel="shop & son", mode="offline"),
    Sold("2026-11-28", "3", channel=None, mode="offline", returned="5"),
    Sold("2026-11-27", "999", channel="web", currency="USD"),
    Sold("2026-10-01", "1000000", channel="web"),
]


@pytest.fixture
def sales(apis: Apis) -> Apis:
    apis.ledger.sold["12345"] = SOLD
    return apis


def table_of(text: str) -> dict[str, list[str]]:
    """Return the cells of each row of a page's table by the row's name."""
    found = {}
    for row in re.findall(r"<tr>\s*<th scope=\"row\"[^>]*>(.*?)</tr>", text, re.DOTALL):
        name, _, cells = row.partition("</th>")
        found[re.sub("<[^>]+>", "", name)] = re.findall(r"<td[^>]*>(.*?)</td>", cells)
    return found


def amount(text: str) -> Decimal:
    """Return the amount that a page shows."""
    return Decimal(re.sub(r"[^0-9.\-]", "", text))


@pytest.mark.usefixtures("sales")
async def test_sales_are_summed_up_by_channel_the_largest_first(signed_in: Site) -> None:
    table = table_of(await signed_in.text(f"/portal/reports?{RANGE}"))
    assert list(table) == ["web", "shop & son", "Without a channel", "Total"]
    assert table["web"] == ["2", "3", "€150.105", "€0.00", "€20.005", "€130.10"]
    assert table["Without a channel"][-1] == "-€2.00"
    assert table["Total"][-1] == "€135.10"


@pytest.mark.usefixtures("sales")
async def test_currencies_are_never_added_and_the_sites_comes_first(signed_in: Site) -> None:
    text = await signed_in.text(f"/portal/reports?{RANGE}")
    assert text.index('aria-current="true">EUR') < text.index(">USD ")
    assert "$999.00" not in str(table_of(text))
    dollars = table_of(await signed_in.text(f"/portal/reports?{RANGE}&currency=USD"))
    assert dollars["Total"] == ["1", "1", "$999.00", "$0.00", "$0.00", "$999.00"]


@pytest.mark.parametrize(
    ("by", "rows"),
    [
        ("day", ["28 Nov 2026", "29 Nov 2026", "30 Nov 2026", "Total"]),
        ("month", ["Nov 2026", "Total"]),
        ("mode", ["Online", "Offline", "Total"]),
    ],
)
@pytest.mark.usefixtures("sales")
async def test_sales_are_summed_up_by(signed_in: Site, by: str, rows: list[str]) -> None:
    table = table_of(await signed_in.text(f"/portal/reports?{RANGE}&by={by}"))
    assert sorted(table) == sorted(rows)
    assert table["Total"][-1] == "€135.10"


@pytest.mark.usefixtures("sales")
async def test_the_page_names_zone_instant_and_currency(signed_in: Site) -> None:
    text = await signed_in.text(f"/portal/reports?{RANGE}")
    assert "days in Europe/Paris" in text
    assert "11:00:00" in text
    assert "10:00:00 UTC" in text
    assert "Net sales by channel in EUR" in text


@pytest.mark.parametrize(
    ("query", "net"),
    [
        ("", "135.10"),
        ("&by=day", "135.10"),
        ("&mode=offline", "5.00"),
        ("&channel=%3Dweb", "130.10"),
        ("&channel=%3D&by=mode", "-2.00"),
        ("&currency=USD&by=month", "999.00"),
    ],
)
@pytest.mark.usefixtures("sales")
async def test_the_sums_of_each_file_equal_those_on_the_screen(signed_in: Site, query: str, net: str) -> None:
    text = await signed_in.text(f"/portal/reports?{RANGE}{query}")
    total = table_of(text)["Total"]
    assert amount(total[-1]) == Decimal(net)
    links = re.findall(r'href="(/portal/reports/[a-z]+\.(?:csv|ndjson|xlsx)\?[^"]+)"', text)
    assert [link.partition("?")[0].rpartition("/")[2] for link in links] == [
        *("sales.csv", "sales.xlsx", "orders.csv", "orders.xlsx", "orders.ndjson")
    ]
    for link in links:
        async with await signed_in.get(link) as response:
            assert response.status == 200
            content = (await response.read()).decode()
        rows = (
            [json.loads(line) for line in content.splitlines()]
            if "ndjson" in link
            else list(csv.DictReader(io.StringIO(content)))
        )
        shown = [int(total[0]), amount(total[2]), amount(total[4]), amount(total[5])]
        columns = ("orders", "gross", "returned", "net")
        assert [sum(Decimal(str(row[name])) for row in rows) for name in columns] == shown


@pytest.mark.parametrize(
    ("link", "name", "media_type"),
    [
        ("sales.csv", "sales-2026-11-01-to-2026-11-30.csv", "text/csv; charset=utf-8"),
        ("orders.ndjson", "orders-2026-11-01-to-2026-11-30.ndjson", "application/x-ndjson"),
    ],
)
async def test_a_file_says_what_it_is(signed_in: Site, link: str, name: str, media_type: str) -> None:
    async with await signed_in.get(f"/portal/reports/{link}?{RANGE}") as response:
        assert response.headers["Content-Disposition"] == f'attachment; filename="{name}"'
        assert response.headers["Content-Type"] == media_type
        assert response.headers["Cache-Control"] == "no-store"


async def test_an_export_that_breaks_off_does_not_look_whole(signed_in: Site, apis: Apis) -> None:
    class Broken(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"orderId\r\n"
            raise httpx2.ReadError("lost")

    apis.fails = lambda request: httpx2.Response(200, stream=Broken()) if "/exports/" in request.url.path else None
    async with await signed_in.get(f"/portal/reports/orders.csv?{RANGE}") as response:
        with pytest.raises(ClientError):
            await response.read()


async def test_an_export_that_is_refused_is_a_page(signed_in: Site, apis: Apis) -> None:
    apis.fails = lambda request: problem(429, "TOO_MANY") if "/exports/" in request.url.path else None
    assert "Too many requests" in await signed_in.text(f"/portal/reports/orders.csv?{RANGE}", status=429)


async def test_without_sales_the_page_says_why(signed_in: Site) -> None:
    text = await signed_in.text("/portal/reports")
    assert "No sales on these days" in text
    assert '<svg class="chart"' not in text


@pytest.mark.usefixtures("sales")
async def test_another_sites_sales_are_not_in_it(site: Site) -> None:
    async with await site.sign_in(OTHER):
        pass
    assert "No sales on these days" in await site.text(f"/portal/reports?{RANGE}")


async def test_without_the_right_it_says_what_is_missing(site: Site) -> None:
    async with await site.sign_in(RESELLER):
        pass
    assert "sales:read" in await site.text("/portal/reports", status=403)
    assert 'href="/portal/reports"' not in await site.text("/portal/")


@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [
        (problem(503, "UNAVAILABLE"), 503, "Nothing is lost"),
        (problem(400, "REPORT_TOO_LARGE"), 400, "This cannot be shown"),
    ],
)
async def test_an_error_is_a_page(signed_in: Site, failure: httpx2.Response, status: int, words: str) -> None:
    signed_in.apis.fails = lambda _: httpx2.Response(
        failure.status_code, headers=failure.headers, content=failure.content
    )
    assert words in await signed_in.text("/portal/reports", status=status)


# Filters.

DAY = date.fromisoformat(TODAY)


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("7d", "2026-11-24", TODAY),
        ("30d", "2026-11-01", TODAY),
        ("month", "2026-11-01", TODAY),
        ("last-month", "2026-10-01", "2026-10-31"),
        ("year", "2026-01-01", TODAY),
        ("nonsense", "2026-11-01", TODAY),
    ],
)
def test_a_preset_is_of_the_sites_days(name: str, first: str, last: str) -> None:
    assert preset_period(name, DAY) == Period(date.fromisoformat(first), date.fromisoformat(last))


@pytest.mark.parametrize(("zone", "today"), [("Europe/Paris", "2026-11-30"), ("America/New_York", "2026-11-29")])
async def test_today_is_that_of_the_site(site: Site, apis: Apis, zone: str, today: str) -> None:
    """The clock says 00:53 in UTC on the 30th: in New York, it is the day before."""
    apis.zone = zone
    async with await site.sign_in():
        pass
    text = await site.text("/portal/reports?range=7d")
    assert f'name="to" type="date" value="{today}"' in text
    assert 'aria-current="true">Last 7 days' in text


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"from": "yesterday"}, "The first day must be a day"),
        ({"to": "2026-13-01"}, "The last day must be a day"),
        ({"by": "weather"}, "shown by channel"),
        ({"mode": "x"}, "The mode was not understood"),
        ({"currency": "EURO"}, "The currency was not understood"),
        ({"from": "2026-11-30", "to": "2026-11-01"}, "exchanged"),
        ({"from": "1990-01-01", "to": "2026-11-01"}, "at most 3,660 days"),
        ({"from": "2024-01-01", "to": "2026-11-01", "by": "day"}, "shown by month"),
    ],
)
def test_what_is_not_understood_is_named(query: dict[str, str], words: str) -> None:
    chosen, notes = parse_filter(query, DAY)
    assert words in " ".join(notes)
    assert chosen.period.first <= chosen.period.last
    assert chosen.period.days <= 3_660


def test_one_day_alone_is_a_range() -> None:
    assert parse_filter({"from": "2026-11-03"}, DAY)[0].period == Period(date(2026, 11, 3), DAY)
    assert parse_filter({"from": "2027-11-03"}, DAY)[0].period == Period(date(2027, 11, 3), date(2027, 11, 3))
    assert parse_filter({"to": "2026-10-03"}, DAY)[0].period == Period(date(2026, 10, 1), date(2026, 10, 3))


# Charts.


@pytest.mark.parametrize(
    "values", [[], [0.0], [3.0], [-2.0], [1.0, -1.0, 0.5], [0.001, 0.002], [1e9, 3.3e9], [7.0] * 366]
)
def test_columns_are_within_the_chart_and_in_proportion(values: list[float]) -> None:
    chart = columns_chart([(f"d{number}", value) for number, value in enumerate(values)])
    (zero,) = [tick.y for tick in chart.ticks if tick.value == 0]
    assert len(chart.columns) == len(values)
    assert len(chart.labels) <= 5
    scale = max(map(abs, values), default=0)
    for column, value in zip(chart.columns, values, strict=True):
        assert column.x >= 0
        assert column.x + column.width <= 100.01
        assert column.y >= 0
        assert column.y + column.height <= chart.height
        assert (column.y if value < 0 else column.y + column.height) == pytest.approx(zero, abs=0.01)
        tallest = max(each.height for each in chart.columns)
        assert column.height == pytest.approx(tallest * abs(value) / (scale or 1), abs=0.01)


def test_bars_below_nought_lie_on_the_other_side() -> None:
    chart = bar_chart([("a", 30.0), ("b", -10.0)])
    assert (chart.zero, chart.bars[0].x, chart.bars[0].width) == (25.0, 25.0, 75.0)
    assert (chart.bars[1].x, chart.bars[1].width, chart.bars[1].is_negative) == (0.0, 25.0, True)


def test_a_chart_has_room_for_the_largest_bars_only() -> None:
    chart = bar_chart([("a" * 99, 1.0)] * (MAX_BARS + 1))
    assert (len(chart.bars), chart.is_all) == (MAX_BARS, False)
    assert chart.bars[0].label.endswith("…")
    assert len(chart.bars[0].label) <= 24
