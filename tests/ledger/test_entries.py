"""What entries are made of records, whatever the order in which those come."""

import random
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import permutations
from zoneinfo import ZoneInfo

import pytest

from services.ledger.domain.entries import (
    Entry,
    Flag,
    Group,
    GroupKey,
    State,
    apply_record,
    derive_entries,
    empty_group,
    erase_user,
    group_sums,
)
from services.ledger.domain.money import format_amount
from services.ledger.domain.sums import Amounts, Cell, day_of, to_date
from services.ledger.domain.versions import MAX_VERSIONS, erase_person, shown_versions
from services.sales.records import SalesRecord
from services.values.instants import MAX_INSTANT_US, MIN_INSTANT_US
from tests.ledger.records import DAY_US, KEY, NOON, SITE, a_job, a_return, an_order

UTC = ZoneInfo("UTC")
DAY = day_of(NOON, UTC)


def grouped(records: Iterable[SalesRecord]) -> Group:
    group = empty_group(GroupKey(SITE, "13"))
    for record in records:
        group = apply_record(group, record, KEY)
    return group


def entries(*records: SalesRecord) -> list[Entry]:
    return derive_entries(grouped(records))


def the_entry(*records: SalesRecord) -> Entry:
    (entry,) = entries(*records)
    return entry


# Two versions of an order, two returns, the correction of one: over two users, channels and currencies.
STORIES: dict[str, Sequence[SalesRecord]] = {
    "one-user": (
        an_order(at=1),
        an_order(at=2, lines=[("p1", 3, "9.99"), ("p2", 1, "0.01")]),
        a_return("r1", at=3),
        a_return("r2", at=4, lines=[("p2", 1, "0.01")]),
        a_return("r1", at=5, lines=[("p1", 2, "9.99")]),
    ),
    "two-users": (
        an_order(at=1, user="u1"),
        an_order(at=2, user="u2"),
        a_return("r1", at=3, user="u1"),
        a_return("r2", at=4, user="u2"),
        a_return("r1", at=5, user="u2"),
    ),
    "two-channels": (
        an_order(at=1, channel="web"),
        an_order(at=2, channel="shop"),
        a_return("r1", at=3, channel="web"),
        a_return("r2", at=4, channel="offline"),
        a_return("r2", at=5, channel="offline", value="1.23"),
    ),
    "another-channel": (
        an_order(at=1, channel="web"),
        an_order(at=2, channel="web"),
        a_return("r1", at=3, channel="offline"),
        a_return("r2", at=4, channel=None),
        a_return("r1", at=5, channel="offline", value="1.23"),
    ),
    "two-currencies": (
        an_order(at=1, currency="USD"),
        an_order(at=2, currency="EUR", coupon="0.5"),
        a_return("r1", at=3, currency="USD"),
        a_return("r2", at=4, currency="EUR"),
        a_return("r1", at=5, currency="EUR"),
    ),
    "equal-ranks": (
        an_order(at=1, job=a_job(1, 0)),
        an_order(at=1, job=a_job(1, 1), user="u2"),
        an_order(at=1, job=a_job(1, 1), user="u3"),
        a_return("r1", at=1, job=a_job(2, 0)),
        a_return("r1", at=1, job=a_job(2, 0), value="7"),
    ),
}


@pytest.mark.parametrize("story", STORIES)
def test_every_order_of_arrival_with_repetitions_gives_the_same_entries_and_sums(story: str) -> None:
    records = STORIES[story]
    expected = grouped(records)
    chance = random.Random(story)  # noqa: S311 - repeatable
    for arrival in permutations(records):
        repeated = [record for record in arrival for _ in range(chance.choice((1, 1, 2)))]
        repeated += chance.sample(records, 2)
        group = grouped(repeated)
        assert derive_entries(group) == derive_entries(expected)
        assert group_sums(group, UTC) == group_sums(expected, UTC)


@pytest.mark.parametrize("story", STORIES)
def test_erasing_a_user_before_between_or_after_the_records_gives_the_same(story: str) -> None:
    """So that a replay brings nothing back, and changes nothing."""
    records = STORIES[story]
    expected = erase_user(grouped(records), "u1", "p", KEY)
    assert "u1" not in repr(expected)
    assert group_sums(expected, UTC) == group_sums(grouped(records), UTC)
    for arrival in permutations(records):
        for cut in (0, 2, 4):
            group = grouped(arrival[:cut])
            # Repeated between the user's being on the list and the group's being erased.
            for record in arrival[: cut // 2]:
                group = apply_record(group, erase_person(record, "p") if record.user_id == "u1" else record, KEY)
            group = erase_user(group, "u1", "p", KEY)
            for record in [*arrival[cut:], *arrival[:2]]:
                pseudonymous = erase_person(record, "p") if record.user_id == "u1" else record
                group = apply_record(group, pseudonymous, KEY)
            assert derive_entries(group) == derive_entries(expected)


def test_an_order_alone() -> None:
    entry = the_entry(an_order(lines=[("p1", 2, "256.678")], coupon="1.5"))
    assert (entry.state, entry.flags, entry.user_id, entry.channel) == (State.ORDERED, (), "u1", "web")
    assert [format_amount(each) for each in (entry.gross, entry.coupons, entry.returned, entry.net)] == [
        "513.356",
        "1.5",
        "0",
        "511.856",
    ]


@pytest.mark.parametrize(
    ("returned", "state", "flags"),
    [
        ([("p1", 1, "9.99")], State.PARTLY_RETURNED, ()),
        ([("p1", 2, "9.99")], State.RETURNED, ()),
        ([("p1", 1, "9.99"), ("p1", 1, "9.99")], State.RETURNED, ()),
        ([("p1", 3, "0.01")], State.OVER_RETURNED, (Flag.MORE_THAN_ORDERED,)),
        ([("p9", 1, "0.01")], State.OVER_RETURNED, (Flag.MORE_THAN_ORDERED,)),
        ([("p1", 1, "19.99")], State.PARTLY_RETURNED, (Flag.MORE_THAN_ORDERED,)),
    ],
)
def test_the_state_compares_units_and_the_flag_also_the_value(
    returned: list[tuple[str, int, str]], state: State, flags: tuple[Flag, ...]
) -> None:
    entry = the_entry(an_order(), a_return(lines=returned))
    assert (entry.state, entry.flags) == (state, flags)


def test_a_stated_value_wins_over_the_lines() -> None:
    assert the_entry(an_order(), a_return(value="3.33")).returned == 3_330_000


def test_a_return_without_an_order_is_an_entry_of_its_own() -> None:
    entry = the_entry(a_return(currency="EUR", user="u7"))
    assert (entry.state, entry.order, entry.user_id) == (State.RETURN_WITHOUT_ORDER, None, "u7")
    assert (entry.currency, format_amount(entry.net)) == ("EUR", "-9.99")


def test_the_only_order_gets_the_return_of_another_channel() -> None:
    """The document's own sample: the return of order 13 names the channel `offline`."""
    entry = the_entry(an_order(channel="6a700f55b7059e38"), a_return(channel="offline"))
    assert (entry.channel, entry.state, entry.flags) == (
        "6a700f55b7059e38",
        State.PARTLY_RETURNED,
        (Flag.CHANNEL_DIFFERS,),
    )


def test_a_return_that_could_belong_to_several_orders_stays_by_itself() -> None:
    *ordered, apart = entries(an_order(channel="a"), an_order(channel="b"), a_return(channel="c"))
    assert [(each.channel, each.state) for each in ordered] == [("a", State.ORDERED), ("b", State.ORDERED)]
    assert (apart.channel, apart.state, apart.flags) == ("c", State.RETURN_WITHOUT_ORDER, (Flag.AMBIGUOUS_ORDER,))


def test_another_user_and_another_currency_are_flagged_and_not_added() -> None:
    entry = the_entry(an_order(), a_return(user="u2", currency="EUR"))
    assert entry.flags == (Flag.CURRENCY_DIFFERS, Flag.USER_DIFFERS)
    assert (entry.returned, entry.user_id) == (0, "u1")


def test_the_latest_version_wins_by_time_then_job_then_index() -> None:
    versions = [
        an_order(at=2, job=None, user="a"),
        an_order(at=2, job=a_job(1, 9), user="b"),
        an_order(at=2, job=a_job(2, 0), user="c"),
        an_order(at=2, job=a_job(2, 1), user="d"),
        an_order(at=1, job=a_job(9, 9), user="e"),
    ]
    for arrival in permutations(versions):
        assert the_entry(*arrival).user_id == "d"


def test_a_version_names_what_it_changed() -> None:
    entry = the_entry(
        an_order(at=1, job=a_job(1)),
        an_order(at=3, job=a_job(3), user="u2", lines=[("p1", 1, "1")], coupon="1"),
        an_order(at=2, job=a_job(2), user="u1", lines=[("p1", 1, "1")]),
    )
    assert entry.order is not None
    shown = shown_versions(entry.order, KEY)
    assert [version.changed for version in shown] == [("userId", "couponValue"), ("lineItems",), ()]
    assert [version.rank.job_id for version in shown] == [a_job(n).job_id for n in (3, 2, 1)]
    assert entry.flags == (Flag.USER_CHANGED,)


def test_the_last_ten_versions_are_shown_whatever_came_first() -> None:
    versions = [an_order(at=number, coupon=str(number)) for number in range(1, 16)]
    expected = None
    for seed in range(20):
        arrival = random.Random(seed).sample(versions, len(versions))  # noqa: S311 - repeatable
        order = the_entry(*arrival).order
        assert order is not None
        shown = shown_versions(order, KEY)
        assert len(shown) == MAX_VERSIONS
        assert all(version.changed == ("couponValue",) for version in shown)
        assert shown == (expected := expected or shown)


def test_sums_count_each_record_on_its_own_day_in_the_orders_channel() -> None:
    group = grouped(
        [
            an_order(channel="web", store="s", coupon="1", lines=[("p1", 3, "0.1")]),
            a_return(channel="shop", value="0.2"),
        ]
    )
    assert group_sums(group, UTC) == {
        Cell(DAY, "web", "online", "USD", "s"): Amounts(1, 3, 300_000, 1_000_000),
        Cell(DAY + 1, "web", "offline", "USD", "Store 234"): Amounts(returned_units=1, returned=200_000),
    }


def test_currencies_are_never_added() -> None:
    sums = group_sums(grouped([an_order(), a_return(currency="EUR", when=NOON, mode="online", store=None)]), UTC)
    assert {cell.currency: amounts.net for cell, amounts in sums.items()} == {"USD": 19_980_000, "EUR": -9_990_000}


def test_the_greatest_amounts_are_exact() -> None:
    entry = the_entry(an_order(lines=[("p", 2**31 - 1, "999999999999.999999")] * 500))
    assert entry.gross == 500 * (2**31 - 1) * 999_999_999_999_999_999
    assert format_amount(entry.gross) == "1073741823499999998926258.1765"


@pytest.mark.parametrize(
    ("zone", "instant", "day"),
    [
        ("Asia/Tokyo", "2026-03-01T23:30:00+09:00", "2026-03-01"),
        ("UTC", "2026-03-01T23:30:00+09:00", "2026-03-01"),
        ("Asia/Tokyo", "2026-03-01T15:00:00+00:00", "2026-03-02"),
        # The days on which the clocks change have 23 and 25 hours.
        ("America/New_York", "2026-03-08T04:59:59+00:00", "2026-03-07"),
        ("America/New_York", "2026-03-08T05:00:00+00:00", "2026-03-08"),
        ("America/New_York", "2026-03-09T03:59:59+00:00", "2026-03-08"),
        ("America/New_York", "2026-03-09T04:00:00+00:00", "2026-03-09"),
        ("America/New_York", "2026-11-01T03:59:59+00:00", "2026-10-31"),
        ("America/New_York", "2026-11-02T04:59:59+00:00", "2026-11-01"),
        ("America/New_York", "2026-11-02T05:00:00+00:00", "2026-11-02"),
        ("Asia/Kathmandu", "2026-03-01T18:14:59+00:00", "2026-03-01"),
        ("Asia/Kathmandu", "2026-03-01T18:15:00+00:00", "2026-03-02"),
    ],
)
def test_the_day_is_that_of_the_zone(zone: str, instant: str, day: str) -> None:
    us = int(datetime.fromisoformat(instant).timestamp()) * 1_000_000
    assert to_date(day_of(us, ZoneInfo(zone))).isoformat() == day


def test_the_ends_of_the_calendar_have_days() -> None:
    for zone in (ZoneInfo("Asia/Tokyo"), ZoneInfo("America/New_York")):
        assert day_of(MIN_INSTANT_US, zone) < day_of(MIN_INSTANT_US + 3 * DAY_US, zone)
        assert day_of(MAX_INSTANT_US, zone) > day_of(MAX_INSTANT_US - 3 * DAY_US, zone)
