"""Ports of the flows. Unless stated otherwise, every call raises `UnavailableError`."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from services.jobs.events import JobHeader, JobKey
from services.status.domain.block import Block, Projection
from services.status.domain.job import ChunkChange, Job, JobChange, StoredJob
from services.status.domain.listing import JobListQuery
from services.status.domain.profile import SiteProfile


class JobTooLargeError(Exception):
    """A write would make a job larger than the store allows; a retry cannot succeed."""


class SiteProfiles(Protocol):
    """Looks up the configuration that a site's jobs show."""

    def get(self, site: int) -> SiteProfile:
        """The site's current configuration; raises nothing."""


class JobWriter(Protocol):
    """Stores jobs. Every write is conditional on the version that it was computed from.

    Reads return what is durable; they may miss a write that failed, but no longer once a conflict with it was returned.
    Writes raise `JobTooLargeError`, too; some of the changes may be stored then.
    """

    async def load(self, keys: Sequence[JobKey]) -> dict[JobKey, StoredJob]:
        """Those of the jobs that exist, without the fields of runs that only readers need."""

    async def write(self, changes: Sequence[JobChange]) -> frozenset[JobKey]:
        """Write jobs durably; returns the keys of those that may not have been written: their version had changed."""

    async def find_chunks(self, job: Job, numbers: Sequence[int], projection: Projection = ...) -> list[Block]:
        """Those of the chunks that exist, with the projected fields, if any."""

    async def write_chunks(self, changes: Sequence[ChunkChange]) -> frozenset[int]:
        """Write chunks of one job durably; returns the numbers of those that may not have been written."""


class JobReader(Protocol):
    """Finds jobs for readers."""

    async def find(self, key: JobKey, projection: Projection = ...) -> StoredJob | None:
        """The job. With a projection, a small one has its block; without, a large one has no tallies of its chunks."""

    def iterate_chunks(self, job: Job, numbers: Sequence[int], projection: Projection) -> AsyncGenerator[Block, None]:
        """Those of the chunks that exist, with the projected fields; `numbers` must ascend or descend."""

    async def list_jobs(self, query: JobListQuery) -> list[Job]:
        """Jobs of one site, newest first, at most one more than a page holds; without tallies of their chunks."""


class Notifier(Protocol):
    """Wakes requests that wait for a job."""

    def notify(self, keys: Sequence[JobKey]) -> None:
        """These jobs changed; raises nothing."""


class OverdueJobs(Protocol):
    """Finds jobs that make no progress."""

    async def find_overdue(self, before_us: int, *, limit: int) -> Sequence[JobHeader]:
        """Jobs that have not ended and were last written before that time, the oldest write first."""


class ConsumerProgress(Protocol):
    """Knows what is still to be consumed, by any replica, that could change a job."""

    async def snapshot_end_offsets(self) -> None:
        """From now on, "caught up" means: up to the present end of the topic of job events."""

    async def is_caught_up(self, *, up_to_us: int) -> bool:
        """Whether status has consumed up to the snapshot, and the validator all records older than that time."""


class FinishedPublisher(Protocol):
    """Publishes that jobs have ended."""

    async def publish_finished(self, jobs: Sequence[Job]) -> None:
        """Return when all in-sync replicas have the events; an event that is repeated has the same id."""


class ExpiryPublisher(Protocol):
    """Publishes the expiry of jobs."""

    async def publish_expired(self, jobs: Sequence[JobHeader], *, at_us: int) -> None:
        """Return when all in-sync replicas have the events."""
