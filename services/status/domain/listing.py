"""A page of a site's jobs, newest first."""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from msgspec import Struct

from services.status.domain.job import Job, State

TYPES = ("orders", "returns")
MODES = ("offline", "online")
DEFAULT_ROWS = 50


class Place(NamedTuple):
    """A job's place in the list of its site."""

    created_us: int
    job_id: str


class Listing(Struct, frozen=True, gc=False):
    """Which jobs of a site are wanted; None takes any. `after` is the last one that was shown."""

    site: int
    rows: int = DEFAULT_ROWS
    state: State | None = None
    type: str | None = None
    mode: str | None = None
    from_us: int | None = None
    to_us: int | None = None
    after: Place | None = None

    @property
    def is_filtered(self) -> bool:
        """Whether only some kinds are wanted."""
        return any((self.state, self.type, self.mode))

    def kinds(self) -> list[tuple[State, str, str]]:
        """Every combination of state, type and mode that is wanted: few enough to be looked up one by one."""
        states: Sequence[State] = [self.state] if self.state else list(State)
        types = [self.type] if self.type else TYPES
        modes = [self.mode] if self.mode else MODES
        return list(product(states, types, modes))


def place_of(job: Job) -> Place:
    """Where the job stands in the list."""
    return Place(job.profile.header.created_us, job.key.job_id)
