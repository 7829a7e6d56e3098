"""What counts as a measurement: ratios within a round, and only rounds that nothing disturbed."""

import os
import time

import pytest

from bench import rounds
from bench.rounds import MachineWatch, Measurements


def measured(*runs: tuple[int, float, float]) -> Measurements:
    one = Measurements()
    for records, wall_s, cpu_s in runs:
        one.add(records, wall_s, cpu_s)
    return one


def test_ratios_are_those_of_each_round() -> None:
    ours, theirs = measured((100, 1, 0.5), (100, 2, 1)), measured((50, 1, 1), (100, 1, 1))
    assert ours.ratios_to(theirs) == [0.5, 2]
    assert ours.cost_ratios_to(theirs) == [1, 4]


def test_a_dropped_run_leaves_nothing() -> None:
    one = measured((100, 1, 0.5), (7, 7, 7))
    one.drop_last()
    assert one == measured((100, 1, 0.5))


@pytest.mark.parametrize(
    ("busy_s", "steal_s", "disturbance"),
    [
        (0.05, 0.0, None),
        (0.05, 0.2, None),
        (0.05, 0.5, "the host took 0.5 s"),
        (8.0, 0.0, "foreign processes took"),
    ],
)
def test_a_round_is_disturbed_by_the_host_and_by_foreign_processes(
    monkeypatch: pytest.MonkeyPatch, busy_s: float, steal_s: float, disturbance: str | None
) -> None:
    monkeypatch.setattr(rounds, "_cpu_seconds", lambda _pids: 0.0)
    monkeypatch.setattr(rounds, "_machine_seconds", lambda: (100.0, 10.0))
    times = iter((0.0, 10.0))
    monkeypatch.setattr(time, "perf_counter", lambda: next(times))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    watch = MachineWatch([])
    monkeypatch.setattr(rounds, "_machine_seconds", lambda: (100.0 + busy_s, 10.0 + steal_s))
    found = watch.disturbance(max_foreign_share=0.1)
    assert (found or "").startswith(disturbance or "")
    assert (found is None) == (disturbance is None)
