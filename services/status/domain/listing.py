"""A page of a site's jobs, newest first."""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from msgspec import Struct

from services.status.domain.job import Job, JobState

TYPES = ("orders", "returns")
MODES = ("offline", "online")
DEFAULT_ROWS = 50


class ListPosition(NamedTuple):
    """A job's position in its site's list."""

    created_us: int
    job_id: str


class JobListQuery(Struct, frozen=True, gc=False):
    """Selects jobs of a site; None matches any value. `after` is the last job of the page before."""

    site: int
    rows: int = DEFAULT_ROWS
    state: JobState | None = None
    type: str | None = None
    mode: str | None = None
    from_us: int | None = None
    to_us: int | None = None
    after: ListPosition | None = None

    @property
    def is_filtered(self) -> bool:
        """Whether state, type or mode is given."""
        return any((self.state, self.type, self.mode))

    def combinations(self) -> list[tuple[JobState, str, str]]:
        """Every matching combination of state, type and mode: few enough to be looked up one by one."""
        states: Sequence[JobState] = [self.state] if self.state else list(JobState)
        types = [self.type] if self.type else TYPES
        modes = [self.mode] if self.mode else MODES
        return list(product(states, types, modes))


def list_position(job: Job) -> ListPosition:
    """The job's position in the list."""
    return ListPosition(job.profile.header.created_at, job.key.job_id)
