"""What the flows need from the world."""

from collections.abc import Sequence
from typing import Protocol

from services.status.domain.block import Block
from services.status.domain.facts import Header, Key
from services.status.domain.job import Change, ChunkChange, Job, Standing
from services.status.domain.listing import Listing
from services.status.domain.profile import Origin
from services.status.domain.texts import Texts


class TooBig(Exception):  # noqa: N818 - says what the job is
    """What is to be written makes a job larger than the store can keep: trying again cannot help."""


class Origins(Protocol):
    """Knows how a site's jobs are to be shown."""

    def of(self, site: int) -> Origin:
        """The site's configuration as it is now."""
        ...


class Writing(Protocol):
    """Keeps jobs. Every write is conditional on the state it was computed from. Each call raises `Away`.

    Writes raise `TooBig`, too; some of them may have been done then.
    """

    async def standings(self, keys: Sequence[Key]) -> dict[Key, Standing]:
        """The stored ones of these jobs, entries without what only readers need."""
        ...

    async def write(self, changes: Sequence[Change]) -> frozenset[Key]:
        """Write jobs durably; return those that may not have been written, because their state was another."""
        ...

    async def settle(self) -> None:
        """Return once all that could be read here by now is durable. Every write waits for that, too."""
        ...

    async def chunks(self, job: Job, numbers: Sequence[int]) -> dict[int, Block]:
        """The stored ones of these chunks, entries without what only readers need."""
        ...

    async def write_chunks(self, changes: Sequence[ChunkChange]) -> frozenset[int]:
        """Write chunks of one job on the same terms; return the numbers of those that may not have been written."""
        ...


class Reading(Protocol):
    """Finds jobs for readers. Each call raises `Away`."""

    async def find(self, key: Key, texts: Texts = ...) -> Standing | None:
        """The job; with texts, a small one's block has them. Without, a large one has no tallies of its chunks."""
        ...

    async def read_chunks(self, job: Job, numbers: Sequence[int], texts: Texts) -> list[Block]:
        """These chunks with these texts; those that are gone are left out."""
        ...

    async def listed(self, listing: Listing) -> list[Job]:
        """Jobs of one site, newest first, large ones without the tallies of their chunks.

        At most one more than a page holds.
        """
        ...


class Bell(Protocol):
    """Wakes those who wait for a job."""

    def ring(self, keys: Sequence[Key]) -> None:
        """These jobs changed."""
        ...


class Overdue(Protocol):
    """Knows the jobs that stand still."""

    async def overdue(self, before_us: int, *, most: int) -> Sequence[Header]:
        """Jobs that have not ended and were last written before that time, the longest first; raises `Away`."""
        ...


class Backlog(Protocol):
    """Knows how much of what moves jobs is still to be read, by any replica. Each call raises `Away`."""

    async def mark(self) -> None:
        """From now on, "read" means: up to where the jobs' events end now."""
        ...

    async def is_read(self, *, up_to_us: int) -> bool:
        """Whether status has read up to the mark, and the validator all that was submitted before that time."""
        ...


class Ending(Protocol):
    """Tells jobs that they are over."""

    async def expire(self, jobs: Sequence[Header], *, at_us: int) -> None:
        """Return when all in-sync replicas have the events; raises `Away`."""
        ...
