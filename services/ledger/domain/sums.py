"""Sums of sales: what an order or a return adds, by day, channel, mode, currency and store."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import NamedTuple

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()


class Amounts(NamedTuple):
    """What is summed; money in millionths. A change of a sum is signed."""

    orders: int = 0
    units: int = 0
    gross: int = 0
    coupons: int = 0
    returned_units: int = 0
    returned: int = 0

    @property
    def net(self) -> int:
        """Gross sales without coupons and returns."""
        return self.gross - self.coupons - self.returned


class Cell(NamedTuple):
    """Whose amounts are summed together. `day` counts from 1970, in the zone of the site's books."""

    day: int
    channel: str | None
    mode: str
    currency: str
    store: str | None


Sums = dict[Cell, Amounts]
NOTHING = Amounts()


def add(left: Amounts, right: Amounts) -> Amounts:
    """Return the sum of both."""
    return Amounts(*(a + b for a, b in zip(left, right, strict=True)))


def add_to(sums: Sums, changes: Mapping[Cell, Amounts], *, sign: int = 1) -> None:
    """Add the changes, or subtract them; sums that become zero are removed."""
    for cell, amounts in changes.items():
        before = sums.get(cell)
        if before is None:
            changed = amounts if sign > 0 else Amounts(*[-amount for amount in amounts])
        else:
            changed = Amounts(*[a + sign * b for a, b in zip(before, amounts, strict=True)])
        if any(changed):
            sums[cell] = changed
        else:
            sums.pop(cell, None)


def difference(new: Mapping[Cell, Amounts], old: Mapping[Cell, Amounts]) -> Sums:
    """Return what must be added to `old` to get `new`."""
    changes = dict(new)
    add_to(changes, old, sign=-1)
    return changes


def without_store(sums: Mapping[Cell, Amounts]) -> Sums:
    """Return the sums of all stores together."""
    merged: Sums = {}
    for cell, amounts in sums.items():
        add_to(merged, {cell._replace(store=None): amounts})
    return merged


def day_of(instant_us: int, zone: tzinfo) -> int:
    """Return the day of an instant in the zone; at the ends of the calendar, its day in UTC."""
    moment = _EPOCH + timedelta(microseconds=instant_us)
    try:
        local = moment.astimezone(zone)
    except OverflowError:
        local = moment
    return local.toordinal() - _EPOCH_DAY


def to_date(day: int) -> date:
    """Return the date of a day."""
    return date.fromordinal(day + _EPOCH_DAY)


def to_day(when: date) -> int:
    """Return the day of a date."""
    return when.toordinal() - _EPOCH_DAY


def total(amounts: Iterable[Amounts]) -> Amounts:
    """Return the sum of all."""
    result = NOTHING
    for each in amounts:
        result = add(result, each)
    return result


def months_between(first: int, last: int) -> Iterator[str]:
    """Yield the months, such as 2026-01, that have a day of the range."""
    start, end = to_date(first), to_date(last)
    for number in range(start.year * 12 + start.month - 1, end.year * 12 + end.month):
        yield f"{number // 12:04d}-{number % 12 + 1:02d}"
