"""Reports of sales: of which days, by what, and their rows as a page shows them."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from tillstream.models import Mode, Report, ReportRow

PRESETS = {
    "7d": "Last 7 days",
    "30d": "Last 30 days",
    "month": "This month",
    "last-month": "Last month",
    "year": "This year",
}
DEFAULT_PRESET = "30d"
GROUPINGS = {"channel": "Channel", "day": "Day", "month": "Month", "mode": "Mode"}
MODES: dict[Mode, str] = {"online": "Online", "offline": "Offline"}
NO_CHANNEL = "Without a channel"
# As the ledger has it.
MAX_DAYS = 3_660
# More columns could not be told apart.
MAX_DAY_ROWS = 366
_ZERO = Decimal(0)


class Period(Struct, frozen=True):
    """Days from the first to the last one."""

    first: date
    last: date

    @property
    def days(self) -> int:
        """How many days there are."""
        return (self.last - self.first).days + 1


class SalesFilter(Struct, frozen=True, kw_only=True):
    """What a report is of. A `channel` of None is any, and an empty one stands for sales without a channel."""

    period: Period
    by: str = "channel"
    channel: str | None = None
    mode: Mode | None = None
    currency: str | None = None


class SalesRow(Struct, frozen=True, kw_only=True):
    """The sums of one group. `short_label` is that of a chart, `channel` that of a group of a channel."""

    label: str
    short_label: str
    orders: int
    units: int
    gross: Decimal
    coupons: Decimal
    returned_units: int
    returned: Decimal
    net: Decimal
    channel: str | None = None


class CurrencySum(Struct, frozen=True):
    """The net sales in a currency."""

    currency: str
    net: Decimal


class SalesView(Struct, frozen=True, kw_only=True):
    """A report in one currency; `currencies` are all that there are, the site's first. Currencies are never added."""

    currency: str
    currencies: Sequence[CurrencySum]
    rows: Sequence[SalesRow]
    total: SalesRow

    @property
    def is_empty(self) -> bool:
        """Whether nothing was sold, and nothing came back."""
        return not any((self.total.orders, self.total.units, self.total.returned_units, self.total.returned))


def preset_period(name: str, today: date) -> Period:
    """Return the days of a preset."""
    first_of_month = today.replace(day=1)
    match name:
        case "7d":
            return Period(today - timedelta(days=6), today)
        case "month":
            return Period(first_of_month, today)
        case "last-month":
            last = first_of_month - timedelta(days=1)
            return Period(last.replace(day=1), last)
        case "year":
            return Period(today.replace(month=1, day=1), today)
    return Period(today - timedelta(days=29), today)


def fit(chosen: SalesFilter) -> tuple[SalesFilter, list[str]]:
    """Return a filter that can be shown, and how it differs from the one that was asked for."""
    notes = []
    first, last = chosen.period.first, chosen.period.last
    if first > last:
        first, last = last, first
        notes.append("The first day was after the last one; they were exchanged.")
    if (last - first).days >= MAX_DAYS:
        first = last - timedelta(days=MAX_DAYS - 1)
        notes.append(f"A report has at most {MAX_DAYS:,} days: the latest ones are shown.")
    fitted = replace(chosen, period=Period(first, last))
    if fitted.by == "day" and fitted.period.days > MAX_DAY_ROWS:
        fitted = replace(fitted, by="month")
        notes.append(f"More than {MAX_DAY_ROWS} days are shown by month.")
    return fitted, notes


def describe_sales(report: Report, chosen: SalesFilter) -> SalesView:
    """Return the rows in one currency: the one that was asked for, or else the site's own if it has sales."""
    currencies = _sum_currencies(report)
    known = [each.currency for each in currencies]
    fallback = report.report_currency if report.report_currency in known or not known else known[0]
    currency = chosen.currency or fallback
    rows = [_describe_row(row, chosen.by) for row in report.result if row.currency == currency]
    if chosen.by in ("channel", "mode"):
        rows.sort(key=lambda row: (-row.net, row.label))
    return SalesView(currency=currency, currencies=currencies, rows=rows, total=_add("Total", rows))


def list_channels(report: Report) -> list[str]:
    """Return the channels of a report by channel, by name; an empty one stands for sales without a channel."""
    return sorted({row.channel or "" for row in report.result})


def _sum_currencies(report: Report) -> list[CurrencySum]:
    sums: dict[str, Decimal] = {}
    for row in report.result:
        sums[row.currency] = sums.get(row.currency, _ZERO) + row.net
    own = report.report_currency
    return [CurrencySum(name, sums[name]) for name in sorted(sums, key=lambda name: (name != own, name))]


def _describe_row(row: ReportRow, by: str) -> SalesRow:
    return SalesRow(
        label=_label(row, by),
        short_label=_label(row, by) if row.day is None else f"{row.day.day} {row.day:%b}",
        orders=row.orders,
        units=row.units,
        gross=row.gross,
        coupons=row.coupons,
        returned_units=row.returned_units,
        returned=row.returned,
        net=row.net,
        channel=(row.channel or "") if by == "channel" else None,
    )


def _label(row: ReportRow, by: str) -> str:
    if row.day is not None:
        return describe_day(row.day)
    if row.month is not None:
        return f"{date.fromisoformat(f'{row.month}-01'):%b %Y}"
    if by == "mode":
        return {str(mode): text for mode, text in MODES.items()}.get(row.mode or "", row.mode or "")
    return row.channel or NO_CHANNEL


def describe_day(day: date) -> str:
    """Return a day as people write it."""
    return f"{day.day} {day:%b %Y}"


def _add(label: str, rows: Iterable[SalesRow]) -> SalesRow:
    rows = list(rows)
    return SalesRow(
        label=label,
        short_label=label,
        orders=sum(row.orders for row in rows),
        units=sum(row.units for row in rows),
        gross=sum((row.gross for row in rows), _ZERO),
        coupons=sum((row.coupons for row in rows), _ZERO),
        returned_units=sum(row.returned_units for row in rows),
        returned=sum((row.returned for row in rows), _ZERO),
        net=sum((row.net for row in rows), _ZERO),
    )
