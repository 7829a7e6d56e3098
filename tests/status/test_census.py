"""How many jobs are open, for the metrics."""

from collections.abc import Mapping

from services.chassis.runtime.metrics import REGISTRY
from services.status.background import take_census
from services.status.domain.job import State


def shown() -> list[float | None]:
    return [REGISTRY.get_sample_value("status_open_jobs", {"state": state}) for state in ("RECEIVED", "VALIDATING")]


async def test_what_is_counted_last_is_shown_also_where_it_is_none() -> None:
    """Or a panel would go on to show jobs that have ended."""
    for counts in ({State.RECEIVED: 3, State.VALIDATING: 1}, {State.RECEIVED: 2, State.VALIDATING: 0}, {}):

        async def count(counts: Mapping[State, int] = counts) -> Mapping[State, int]:
            return counts

        await take_census(count)
        assert shown() == [counts.get(State.RECEIVED, 0), counts.get(State.VALIDATING, 0)]
