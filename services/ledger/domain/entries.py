"""Entries: an order with its returns. All records of one order id of a site are matched together."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import tzinfo
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from msgspec import Struct

from services.ledger.domain.money import to_micros
from services.ledger.domain.sums import Amounts, Cell, Sums, add_to, day_of
from services.ledger.domain.versions import VersionedOrder, add_version, erase_person, is_later_return, rank_of
from services.ledger.domain.versions import erase_user as erase_from_versions
from services.sales.records import Order, OrderLine, Return, SalesRecord


class GroupKey(NamedTuple):
    """All orders and returns of a site with this order id, whatever their channel."""

    site: int
    order_id: str


class ReturnKey(NamedTuple):
    """Identifies a return in its group."""

    channel: str | None
    return_id: str


class State(StrEnum):
    """How much of an order was returned."""

    ORDERED = "ORDERED"
    PARTLY_RETURNED = "PARTLY_RETURNED"
    RETURNED = "RETURNED"
    OVER_RETURNED = "OVER_RETURNED"
    RETURN_WITHOUT_ORDER = "RETURN_WITHOUT_ORDER"


class Flag(StrEnum):
    """What is odd about an entry; nothing is refused because of it."""

    CHANNEL_DIFFERS = "CHANNEL_DIFFERS"
    AMBIGUOUS_ORDER = "AMBIGUOUS_ORDER"
    MORE_THAN_ORDERED = "MORE_THAN_ORDERED"
    USER_DIFFERS = "USER_DIFFERS"
    CURRENCY_DIFFERS = "CURRENCY_DIFFERS"
    USER_CHANGED = "USER_CHANGED"


class Group(Struct, frozen=True, dict=True):
    """The latest records of one order id: an order by channel, a return by channel and its own id."""

    key: GroupKey
    orders: Mapping[str | None, VersionedOrder]
    returns: Mapping[ReturnKey, Return]

    @cached_property
    def entries(self) -> "list[Entry]":
        """The entries, derived once."""
        return derive_entries(self)

    @property
    def line_count(self) -> int:
        """The lines of all records."""
        ordered = sum(len(each.order.line_items) for each in self.orders.values())
        return ordered + sum(len(each.line_items) for each in self.returns.values())

    @property
    def users(self) -> set[str]:
        """All users of the records."""
        users = {each.user_id for each in self.returns.values()}
        for versioned in self.orders.values():
            users |= {versioned.order.user_id, *(version.user_id for version in versioned.earlier)}
        return users


class Entry(Struct, frozen=True, kw_only=True):
    """One order of a channel with the returns that were matched to it, or returns without an order."""

    channel: str | None
    user_id: str
    at: int
    state: State
    currency: str
    mode: str
    gross: int
    coupons: int
    returned: int
    order: VersionedOrder | None
    returns: tuple[Return, ...]
    flags: tuple[Flag, ...]

    @property
    def net(self) -> int:
        """Gross without the coupon and the returns."""
        return self.gross - self.coupons - self.returned

    @property
    def line_count(self) -> int:
        """The lines of the order and the returns."""
        ordered = 0 if self.order is None else len(self.order.order.line_items)
        return ordered + sum(len(each.line_items) for each in self.returns)


def empty_group(key: GroupKey) -> Group:
    """Return a group without records."""
    return Group(key, {}, {})


def group_key(record: SalesRecord) -> GroupKey:
    """Return the key of the record's group."""
    return GroupKey(record.site, record.order_id)


def apply_record(group: Group, record: SalesRecord, key: bytes) -> Group:
    """Return the group with the record; the same object if that changes nothing. `key` is for fingerprints.

    The result does not depend on the order of the records, nor on repetitions.
    """
    if isinstance(record, Order):
        stored = group.orders.get(record.channel)
        versioned = add_version(stored, record, key)
        if versioned is stored:
            return group
        return Group(group.key, {**group.orders, record.channel: versioned}, group.returns)
    return_key = ReturnKey(record.channel, record.return_id)
    if not is_later_return(record, group.returns.get(return_key)):
        return group
    return Group(group.key, group.orders, {**group.returns, return_key: record})


def erase_user(group: Group, user_id: str, pseudonym: str, key: bytes) -> Group:
    """Return the group as if all records of the user had been pseudonymous when they came."""
    orders = {
        channel: erase_from_versions(versioned, user_id, pseudonym, key) for channel, versioned in group.orders.items()
    }
    returns = {
        return_key: erase_person(each, pseudonym) if each.user_id == user_id else each
        for return_key, each in group.returns.items()
    }
    return Group(group.key, orders, returns)


def derive_entries(group: Group) -> list[Entry]:
    """Match the returns to the orders, and return the entries: those with an order first, by channel."""
    matched: dict[str | None, list[Return]] = {channel: [] for channel in group.orders}
    apart: dict[str | None, list[Return]] = {}
    only = next(iter(group.orders)) if len(group.orders) == 1 else None
    for each in group.returns.values():
        if each.channel in matched:
            matched[each.channel].append(each)
        elif len(group.orders) == 1:
            matched[only].append(each)
        else:
            apart.setdefault(each.channel, []).append(each)
    return [
        *(_ordered_entry(group.orders[channel], matched[channel]) for channel in sorted(matched, key=channel_order)),
        *(
            _apart_entry(apart[channel], is_ambiguous=bool(group.orders))
            for channel in sorted(apart, key=channel_order)
        ),
    ]


def entry_sums(entry: Entry, zone: tzinfo) -> Sums:
    """Return what the entry adds to the sums: the order on its day, each return on its own, all in its channel."""
    sums: Sums = {}
    if entry.order is not None:
        order = entry.order.order
        cell = Cell(day_of(order.date_time, zone), entry.channel, order.mode, order.currency, order.store_id)
        add_to(sums, {cell: Amounts(1, _units(order.line_items), entry.gross, entry.coupons)})
    for each in entry.returns:
        cell = Cell(day_of(each.date_time, zone), entry.channel, each.mode, each.currency, each.store_id)
        add_to(sums, {cell: Amounts(returned_units=_units(each.line_items), returned=return_value(each))})
    return sums


def channel_order(channel: str | None) -> tuple[bool, str]:
    """Return by what channels are sorted: none comes first."""
    return channel is not None, channel or ""


def entry_instants(entries: Sequence[Entry]) -> tuple[int, int]:
    """Return when the first and the last sale or return of the entries took place."""
    instants = [each.date_time for entry in entries for each in entry.returns]
    instants += [entry.order.order.date_time for entry in entries if entry.order is not None]
    return min(instants), max(instants)


def group_sums(group: Group, zone: tzinfo) -> Sums:
    """Return what all entries of the group add to the sums."""
    sums: Sums = {}
    for entry in group.entries:
        add_to(sums, entry_sums(entry, zone))
    return sums


def return_value(record: Return) -> int:
    """Return the value of a return: the stated one, or else the sum of its lines."""
    return _value(record.line_items) if record.return_value is None else to_micros(record.return_value)


def _ordered_entry(versioned: VersionedOrder, returns: Sequence[Return]) -> Entry:
    order = versioned.order
    gross = _value(order.line_items)
    coupons = 0 if order.coupon_value is None else to_micros(order.coupon_value)
    in_currency = [each for each in returns if each.currency == order.currency]
    returned = sum(map(return_value, in_currency))
    state = _return_state(order, returns)
    flags = set(_flags(versioned, returns)) if returns or versioned.earlier else set()
    if returned > gross or state is State.OVER_RETURNED:
        flags.add(Flag.MORE_THAN_ORDERED)
    return Entry(
        channel=order.channel,
        user_id=order.user_id,
        at=order.date_time,
        state=state,
        currency=order.currency,
        mode=order.mode,
        gross=gross,
        coupons=coupons,
        returned=returned,
        order=versioned,
        returns=_sorted_returns(returns),
        flags=tuple(sorted(flags)),
    )


def _apart_entry(returns: Sequence[Return], *, is_ambiguous: bool) -> Entry:
    latest = max(returns, key=lambda each: (rank_of(each), each.return_id))
    flags = {Flag.AMBIGUOUS_ORDER} if is_ambiguous else set()
    if any(each.currency != latest.currency for each in returns):
        flags.add(Flag.CURRENCY_DIFFERS)
    if any(each.user_id != latest.user_id for each in returns):
        flags.add(Flag.USER_DIFFERS)
    return Entry(
        channel=latest.channel,
        user_id=latest.user_id,
        at=latest.date_time,
        state=State.RETURN_WITHOUT_ORDER,
        currency=latest.currency,
        mode=latest.mode,
        gross=0,
        coupons=0,
        returned=sum(return_value(each) for each in returns if each.currency == latest.currency),
        order=None,
        returns=_sorted_returns(returns),
        flags=tuple(sorted(flags)),
    )


def _flags(versioned: VersionedOrder, returns: Sequence[Return]) -> Iterator[Flag]:
    order = versioned.order
    for each in returns:
        if each.channel != order.channel:
            yield Flag.CHANNEL_DIFFERS
        if each.user_id != order.user_id:
            yield Flag.USER_DIFFERS
        if each.currency != order.currency:
            yield Flag.CURRENCY_DIFFERS
    if any(version.user_id != order.user_id for version in versioned.earlier):
        yield Flag.USER_CHANGED


def _return_state(order: Order, returns: Sequence[Return]) -> State:
    """Compare the units of each product."""
    if not returns:
        return State.ORDERED
    left: dict[str, int] = {}
    for line in order.line_items:
        left[line.product_id] = left.get(line.product_id, 0) + line.quantity
    for each in returns:
        for line in each.line_items:
            left[line.product_id] = left.get(line.product_id, 0) - line.quantity
    if min(left.values()) < 0:
        return State.OVER_RETURNED
    return State.PARTLY_RETURNED if any(left.values()) else State.RETURNED


def _sorted_returns(returns: Sequence[Return]) -> tuple[Return, ...]:
    if len(returns) < 2:
        return tuple(returns)
    return tuple(sorted(returns, key=lambda each: (each.date_time, channel_order(each.channel), each.return_id)))


def _units(lines: Sequence[OrderLine]) -> int:
    return sum([line.quantity for line in lines])


def _value(lines: Sequence[OrderLine]) -> int:
    return sum([line.quantity * to_micros(line.unit_price) for line in lines])
