"""The faults of a round."""

import random

import pytest

from tests.faults.campaign.rounds import FAULTS, draw_faults


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_faults_are_drawn_though_only_one_is_usable(fault: object) -> None:
    usable = [each for each in FAULTS if each is fault]
    for seed in range(50):
        drawn = draw_faults(random.Random(seed), usable)
        assert set(drawn) == set(usable)


def test_at_most_one_fault_takes_nodes() -> None:
    counts = set()
    for seed in range(500):
        drawn = draw_faults(random.Random(seed), FAULTS)
        counts.add(len(drawn))
        assert sum(fault.takes_nodes for fault in drawn) <= 1
    assert counts == {1, 2, 3}
