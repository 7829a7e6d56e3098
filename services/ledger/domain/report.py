"""Reports of sales: sums by the dimensions that the caller names, days without sales included."""

from collections.abc import Iterable, Mapping, Sequence
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

Combination = tuple[str | None, ...]


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


class ReportBuilder:
    """Adds up the sums of one report."""

    def __init__(self, query: ReportQuery) -> None:
        self._query = query
        # Currencies are never added: it always is the last part of a combination.
        self._others = [name for name in query.by if name not in _DATES and name != CURRENCY]
        self._date = DAY if DAY in query.by else MONTH if MONTH in query.by else None
        self._sums: dict[tuple[Combination, str], list[int]] = {}
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

    def rows(self) -> list[ReportRow]:
        """Return the rows in the order of the dimensions; the site's own currency comes before the others."""
        combinations = {combination for combination, _ in self._sums} or self._default_combinations()
        keys = list(product(combinations, self._dates()))
        keys.sort(key=self._sort_key)
        return [self._row(combination, when) for combination, when in keys]

    def _add(self, combination: Combination, when: str, amounts: Sequence[Any]) -> None:
        key = combination, (when if self._date == DAY else when[:7] if self._date == MONTH else "")
        sums = self._sums.get(key)
        if sums is None:
            self._sums[key] = [int(amount) for amount in amounts]
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

    def _dates(self) -> Sequence[str]:
        query = self._query
        if self._date == DAY:
            return [to_date(day).isoformat() for day in range(query.first, query.last + 1)]
        return list(months_between(query.first, query.last)) if self._date == MONTH else [""]

    def _values(self, combination: Combination, when: str) -> dict[str, str | None]:
        return {
            **dict(zip(self._others, combination, strict=False)),
            DAY: when,
            MONTH: when[:7],
            CURRENCY: combination[-1],
        }

    def _sort_key(self, key: tuple[Combination, str]) -> tuple[Any, ...]:
        values = self._values(*key)
        names = self._query.by if CURRENCY in self._query.by else (*self._query.by, CURRENCY)
        return tuple(
            (value != self._query.report_currency, value) if name == CURRENCY else (value is not None, value or "")
            for name, value in [(name, values[name]) for name in names]
        )

    def _row(self, combination: Combination, when: str) -> ReportRow:
        values = self._values(combination, when)
        amounts = Amounts(*self._sums.get((combination, when), _NOTHING))
        return ReportRow(tuple([values[name] for name in self._query.by]), str(combination[-1]), amounts)
