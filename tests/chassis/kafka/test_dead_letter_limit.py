"""The dead-letter limit halts a partition instead of draining it into dead letters."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.kafka.dead_letter_limit import DeadLetterLimit

PARTITION = "orders 0"


def a_limit(*, max_consecutive: int = 3, window: int = 10, max_ratio: float = 0.5) -> DeadLetterLimit:
    return DeadLetterLimit(max_consecutive=max_consecutive, window=window, max_ratio=max_ratio)


def feed(limit: DeadLetterLimit, pattern: str, partition: str = PARTITION) -> int:
    """Record a pattern, `x` for a dead letter; return how many records were allowed."""
    dead = [position for position, letter in enumerate(pattern) if letter == "x"]
    allowed = limit.allowed(partition, len(pattern), dead)
    limit.record(partition, len(pattern), dead)
    return allowed


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [
        ("", 0),
        ("...", 3),
        ("xxx", 3),
        ("xxxx", 3),
        ("..xxxx..", 5),
        ("xxx.xxx.", 7 - 1),
        (".x.x.x.x.x.x", 12),
        ("xx.xx.xx.", 7),
    ],
)
def test_too_many_in_a_row_or_among_the_latest_stop_the_partition(pattern: str, allowed: int) -> None:
    limit = a_limit()
    assert feed(limit, pattern) == allowed
    assert (PARTITION in limit.halted) == (allowed < len(pattern))


def test_what_came_before_counts() -> None:
    limit = a_limit()
    assert feed(limit, ".xx") == 3
    assert feed(limit, "xx") == 1
    assert feed(limit, "...") == 0


def test_a_good_record_ends_the_row() -> None:
    limit = a_limit(window=1000)
    for _ in range(50):
        assert feed(limit, "xxx.") == 4


def test_the_latest_records_alone_make_the_share() -> None:
    limit = a_limit()
    assert feed(limit, "x.x.x.x.x.") == 10
    assert feed(limit, "." * 10) == 10
    assert feed(limit, "x.x.x.x.x.") == 10


def test_partitions_are_counted_apart() -> None:
    limit = a_limit()
    feed(limit, "xxxx")
    assert feed(limit, "xxx.", "orders 1") == 4
    assert set(limit.halted) == {PARTITION}


def test_a_released_partition_goes_on_unless_nothing_has_changed() -> None:
    limit = a_limit()
    feed(limit, "xxxx")
    limit.resume([PARTITION])
    assert feed(limit, "x") == 0
    limit.resume([PARTITION])
    assert feed(limit, "." * 10) == 10
    assert feed(limit, "xxx.") == 4


def test_asking_changes_nothing() -> None:
    limit = a_limit()
    for _ in range(5):
        assert limit.allowed(PARTITION, 3, [0, 1, 2]) == 3
    assert list(limit.halted) == []


@dataclass
class SimpleLimit:
    """Three in a row, five of ten, by counting all records again for each one."""

    allowed: str = ""
    is_halted: bool = False

    def feed(self, pattern: str) -> int:
        for at, letter in enumerate(pattern):
            tried = self.allowed + letter
            if letter == "x" and (tried.endswith("xxxx") or tried[-10:].count("x") > 5):
                self.is_halted = True
            if self.is_halted:
                return at
            self.allowed = tried
        return len(pattern)


@given(st.lists(st.text("x.", max_size=12) | st.just("release"), max_size=30))
def test_it_counts_what_was_admitted_and_nothing_else(steps: list[str]) -> None:
    """Records in front of which it stopped come again once it is released."""
    limit, plain = a_limit(), SimpleLimit()
    for step in steps:
        if step == "release":
            limit.resume([PARTITION])
            plain.is_halted = False
        else:
            assert feed(limit, step) == plain.feed(step)
            assert (PARTITION in limit.halted) == plain.is_halted


@given(st.lists(st.text("x.", max_size=12), max_size=12))
def test_how_records_are_cut_into_polls_does_not_matter(polls: list[str]) -> None:
    whole, cut = a_limit(), a_limit()
    expected = feed(whole, "".join(polls))
    assert sum(feed(cut, poll) for poll in polls) == expected
    assert set(cut.halted) == set(whole.halted)
