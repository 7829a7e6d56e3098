"""What the flows need from the world."""

from collections.abc import Sequence
from typing import Protocol

from services.jobs.events import JobHeader, JobKey
from services.status.domain.block import Block, Projection
from services.status.domain.job import ChunkChange, Job, JobChange, StoredJob
from services.status.domain.listing import JobListQuery
from services.status.domain.profile import SiteProfile


class JobTooLargeError(Exception):
    """What is to be written makes a job larger than the store can keep: trying again cannot help."""


class SiteProfiles(Protocol):
    """Knows how a site's jobs are to be shown."""

    def get(self, site: int) -> SiteProfile:
        """The site's configuration as it is now."""
        ...


class JobWriter(Protocol):
    """Keeps jobs. Every write is conditional on the state it was computed from. Each call raises `Away`.

    Writes raise `TooBig`, too; some of them may have been done then.
    """

    async def load(self, keys: Sequence[JobKey]) -> dict[JobKey, StoredJob]:
        """The stored ones of these jobs, entries without what only readers need."""
        ...

    async def write(self, changes: Sequence[JobChange]) -> frozenset[JobKey]:
        """Write jobs durably; return those that may not have been written, because their state was another."""
        ...

    async def wait_until_durable(self) -> None:
        """Return once all that could be read here by now is durable. Every write waits for that, too."""
        ...

    async def load_chunks(self, job: Job, numbers: Sequence[int]) -> dict[int, Block]:
        """The stored ones of these chunks, entries without what only readers need."""
        ...

    async def write_chunks(self, changes: Sequence[ChunkChange]) -> frozenset[int]:
        """Write chunks of one job on the same terms; return the numbers of those that may not have been written."""
        ...


class JobReader(Protocol):
    """Finds jobs for readers. Each call raises `Away`."""

    async def find(self, key: JobKey, projection: Projection = ...) -> StoredJob | None:
        """The job; with texts, a small one's block has them. Without, a large one has no tallies of its chunks."""
        ...

    async def find_chunks(self, job: Job, numbers: Sequence[int], projection: Projection) -> list[Block]:
        """These chunks with these texts; those that are gone are left out."""
        ...

    async def list_jobs(self, listing: JobListQuery) -> list[Job]:
        """Jobs of one site, newest first, large ones without the tallies of their chunks.

        At most one more than a page holds.
        """
        ...


class Notifier(Protocol):
    """Wakes those who wait for a job."""

    def notify(self, keys: Sequence[JobKey]) -> None:
        """These jobs changed."""
        ...


class OverdueJobs(Protocol):
    """Knows the jobs that stand still."""

    async def find_overdue(self, before_us: int, *, limit: int) -> Sequence[JobHeader]:
        """Jobs that have not ended and were last written before that time, the longest first; raises `Away`."""
        ...


class ConsumerProgress(Protocol):
    """Knows how much of what moves jobs is still to be read, by any replica. Each call raises `Away`."""

    async def snapshot_end_offsets(self) -> None:
        """From now on, "read" means: up to where the jobs' events end now."""
        ...

    async def is_caught_up(self, *, up_to_us: int) -> bool:
        """Whether status has read up to the mark, and the validator all that was submitted before that time."""
        ...


class ExpiryPublisher(Protocol):
    """Tells jobs that they are over."""

    async def publish_expired(self, jobs: Sequence[JobHeader], *, at_us: int) -> None:
        """Return when all in-sync replicas have the events; raises `Away`."""
        ...
