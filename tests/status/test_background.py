"""The gauge of open jobs."""

from collections.abc import Mapping

from services.chassis.runtime.metrics import REGISTRY
from services.status.background import update_open_jobs_gauge
from services.status.domain.job import JobState


def shown() -> list[float | None]:
    return [REGISTRY.get_sample_value("status_open_jobs", {"state": state}) for state in ("RECEIVED", "VALIDATING")]


async def test_what_is_counted_last_is_shown_also_where_it_is_none() -> None:
    """Or a panel would go on to show jobs that have ended."""
    for counts in ({JobState.RECEIVED: 3, JobState.VALIDATING: 1}, {JobState.RECEIVED: 2, JobState.VALIDATING: 0}, {}):

        async def count(counts: Mapping[JobState, int] = counts) -> Mapping[JobState, int]:
            return counts

        await update_open_jobs_gauge(count)
        assert shown() == [counts.get(JobState.RECEIVED, 0), counts.get(JobState.VALIDATING, 0)]
