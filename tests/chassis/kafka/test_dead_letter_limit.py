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
    """Records as letters, `x` for a dead one; returns how many were admitted."""
    dead = [position for position, letter in enumerate(pattern) if letter == "x"]
    admitted = limit.allowed(partition, len(pattern), dead)
    limit.record(partition, len(pattern), dead)
    return admitted


@pytest.mark.parametrize(
    ("pattern", "admitted"),
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
def test_too_many_in_a_row_or_among_the_latest_stop_the_partition(pattern: str, admitted: int) -> None:
    brake = a_limit()
    assert feed(brake, pattern) == admitted
    assert (PARTITION in brake.halted) == (admitted < len(pattern))


def test_what_came_before_counts() -> None:
    brake = a_limit()
    assert feed(brake, ".xx") == 3
    assert feed(brake, "xx") == 1
    assert feed(brake, "...") == 0


def test_a_good_record_ends_the_row() -> None:
    brake = a_limit(window=1000)
    for _ in range(50):
        assert feed(brake, "xxx.") == 4


def test_the_latest_records_alone_make_the_share() -> None:
    brake = a_limit()
    assert feed(brake, "x.x.x.x.x.") == 10
    assert feed(brake, "." * 10) == 10
    assert feed(brake, "x.x.x.x.x.") == 10


def test_partitions_are_counted_apart() -> None:
    brake = a_limit()
    feed(brake, "xxxx")
    assert feed(brake, "xxx.", "orders 1") == 4
    assert set(brake.halted) == {PARTITION}


def test_a_released_partition_goes_on_unless_nothing_has_changed() -> None:
    brake = a_limit()
    feed(brake, "xxxx")
    brake.resume([PARTITION])
    assert feed(brake, "x") == 0
    brake.resume([PARTITION])
    assert feed(brake, "." * 10) == 10
    assert feed(brake, "xxx.") == 4


def test_asking_changes_nothing() -> None:
    brake = a_limit()
    for _ in range(5):
        assert brake.allowed(PARTITION, 3, [0, 1, 2]) == 3
    assert list(brake.halted) == []


@dataclass
class SimpleLimit:
    """Three in a row, five of ten, by counting all records again for each one."""

    admitted: str = ""
    is_stopped: bool = False

    def feed(self, pattern: str) -> int:
        for at, letter in enumerate(pattern):
            tried = self.admitted + letter
            if letter == "x" and (tried.endswith("xxxx") or tried[-10:].count("x") > 5):
                self.is_stopped = True
            if self.is_stopped:
                return at
            self.admitted = tried
        return len(pattern)


@given(st.lists(st.text("x.", max_size=12) | st.just("release"), max_size=30))
def test_it_counts_what_was_admitted_and_nothing_else(steps: list[str]) -> None:
    """Records in front of which it stopped come again once it is released."""
    brake, plain = a_limit(), SimpleLimit()
    for step in steps:
        if step == "release":
            brake.resume([PARTITION])
            plain.is_stopped = False
        else:
            assert feed(brake, step) == plain.feed(step)
            assert (PARTITION in brake.halted) == plain.is_stopped


@given(st.lists(st.text("x.", max_size=12), max_size=12))
def test_how_records_are_cut_into_polls_does_not_matter(polls: list[str]) -> None:
    whole, cut = a_limit(), a_limit()
    expected = feed(whole, "".join(polls))
    assert sum(feed(cut, poll) for poll in polls) == expected
    assert set(cut.halted) == set(whole.halted)
