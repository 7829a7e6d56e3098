"""Reports of sales: sums by the dimensions that the caller names, days without sales included."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import tzinfo
from itertools import product
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from services.ledger.domain.sums import Amounts, Cell, months_between, to_date
from services.values.instants import start_of_day_us

DAY, MONTH, CHANNEL, MODE, CURRENCY, STORE = "day", "month", "channel", "mode", "currency", "store"
DIMENSIONS = (DAY, MONTH, CHANNEL, MODE, CURRENCY, STORE)
DEFAULT_DIMENSIONS = (DAY, CHANNEL)
_DATES = (DAY, MONTH)
_NOTHING = [0] * len(Amounts._fields)

# A row takes about two kilobytes while it is rendered.
MAX_REPORT_ROWS = 25_000

Combination = tuple[str | None, ...]
# Of a sum: a combination, and the day, the month or an empty text.
Key = tuple[Combination, str]


class Filter(Struct, frozen=True):
    """Which sales count; None matches any, but for the channel, where it matches sales without one."""

    channel: str | UnsetType | None = UNSET
    mode: str | None = None
    currency: str | None = None

    def matches(self, cell: Cell) -> bool:
        """Whether the cell's sales count."""
        return (
            (self.channel is UNSET or cell.channel == self.channel)
            and (self.mode is None or cell.mode == self.mode)
            and (self.currency is None or cell.currency == self.currency)
        )


class ReportQuery(Struct, frozen=True, kw_only=True):
    """What a report shows: the days `first` to `last`, by these dimensions in this order."""

    first: int
    last: int
    by: tuple[str, ...] = DEFAULT_DIMENSIONS
    filter: Filter = Filter()
    report_currency: str = "USD"

    @property
    def has_whole_months(self) -> bool:
        """Whether the totals of months are enough."""
        first, after = to_date(self.first), to_date(self.last + 1)
        return DAY not in self.by and first.day == 1 and after.day == 1

    def instants(self, zone: tzinfo) -> tuple[int, int]:
        """Return the first instant of the range in the zone, and the first one after it."""
        return start_of_day_us(to_date(self.first), zone), start_of_day_us(to_date(self.last + 1), zone)


class MonthSums(Struct, frozen=True, gc=False):
    """The sums of one month, channel, mode, currency and store: in all, and by day of the month."""

    month: str
    channel: str | None
    mode: str
    currency: str
    store: str | None
    total: Sequence[Any]
    days: Mapping[str, Sequence[Any]]


class ReportRow(Struct, frozen=True, gc=False):
    """One row: the values of the dimensions, in their order, and the sums."""

    values: Combination
    currency: str
    amounts: Amounts


class ReportTooLargeError(Exception):
    """The report has more than `MAX_REPORT_ROWS` rows."""


class ReportBuilder:
    """Adds up the sums of one report. Adding raises `ReportTooLargeError`."""

    def __init__(self, query: ReportQuery) -> None:
        self._query = query
        # Currencies are never added: it always is the last part of a combination.
        self._others = [name for name in query.by if name not in _DATES and name != CURRENCY]
        self._date = DAY if DAY in query.by else MONTH if MONTH in query.by else None
        self._sums: dict[Key, list[int]] = {}
        self._combinations: set[Combination] = set()
        self._dates = self._list_dates()
        self._first, self._last = to_date(query.first).isoformat(), to_date(query.last).isoformat()

    def add_months(self, sums: Iterable[MonthSums]) -> None:
        """Add stored sums, which the filter matches."""
        whole = self._query.has_whole_months
        for each in sums:
            combination = self._combination(each.channel, each.mode, each.currency, each.store)
            if whole:
                self._add(combination, each.month, each.total)
                continue
            for day, amounts in each.days.items():
                text = f"{each.month}-{day}"
                if self._first <= text <= self._last:
                    self._add(combination, text, amounts)

    def add_cells(self, sums: Mapping[Cell, Amounts]) -> None:
        """Add any sums; those that do not match or are of other days are ignored."""
        query = self._query
        for cell, amounts in sums.items():
            if query.first <= cell.day <= query.last and query.filter.matches(cell):
                combination = self._combination(cell.channel, cell.mode, cell.currency, cell.store)
                self._add(combination, to_date(cell.day).isoformat(), amounts)

    @property
    def row_count(self) -> int:
        """How many rows the report has so far."""
        return len(self._combinations) * len(self._dates)

    def rows(self) -> list[ReportRow]:
        """Return the rows in the order of the dimensions; the site's own currency comes before the others."""
        combinations = self._combinations or self._default_combinations()
        keys = list(product(combinations, self._dates))
        names = self._query.by if CURRENCY in self._query.by else (*self._query.by, CURRENCY)
        # Stable, so the least significant dimension is sorted first.
        for name in reversed(names):
            keys.sort(key=self._sort_key(name, combinations))
        columns = [self._column(name) for name in self._query.by]
        return [
            ReportRow(
                tuple([column(key) for column in columns]),
                str(key[0][-1]),
                Amounts._make(self._sums.get(key, _NOTHING)),
            )
            for key in keys
        ]

    def _add(self, combination: Combination, when: str, amounts: Sequence[Any]) -> None:
        key = combination, (when if self._date == DAY else when[:7] if self._date == MONTH else "")
        sums = self._sums.get(key)
        if sums is None:
            self._sums[key] = [int(amount) for amount in amounts]
            self._combinations.add(combination)
            if self.row_count > MAX_REPORT_ROWS:
                raise ReportTooLargeError
            return
        for position, amount in enumerate(amounts):
            sums[position] += int(amount)

    def _combination(self, channel: str | None, mode: str, currency: str, store: str | None) -> Combination:
        values = {CHANNEL: channel, MODE: mode, STORE: store}
        return (*(values[name] for name in self._others), currency)

    def _default_combinations(self) -> set[Combination]:
        """Without any sales: the filter's values, if there is one for each dimension."""
        wanted = self._query.filter
        known = {} if wanted.channel is UNSET else {CHANNEL: wanted.channel}
        if wanted.mode is not None:
            known[MODE] = wanted.mode
        if not set(self._others) <= known.keys():
            return set()
        return {(*(known[name] for name in self._others), wanted.currency or self._query.report_currency)}

    def _list_dates(self) -> Sequence[str]:
        query = self._query
        if self._date == DAY:
            return [to_date(day).isoformat() for day in range(query.first, query.last + 1)]
        return list(months_between(query.first, query.last)) if self._date == MONTH else [""]

    def _column(self, name: str) -> Callable[[Key], str | None]:
        """Return a function from the key of a sum to its value of a dimension."""
        if name in _DATES:
            return _month_of if name == MONTH else _date_of
        position = -1 if name == CURRENCY else self._others.index(name)
        return lambda key: key[0][position]

    def _sort_key(self, name: str, combinations: Iterable[Combination]) -> Callable[[Key], Any]:
        """Return by what the keys of sums are sorted to be in the order of a dimension."""
        if name in _DATES:
            return self._column(name)
        column = self._column(name)
        own = self._query.report_currency
        places: dict[Combination, tuple[bool, str]] = {}
        for combination in combinations:
            value = column((combination, ""))
            places[combination] = (value != own if name == CURRENCY else value is not None, value or "")
        return lambda key: places[key[0]]


def _date_of(key: Key) -> str:
    return key[1]


def _month_of(key: Key) -> str:
    return key[1][:7]
