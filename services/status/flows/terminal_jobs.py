"""A job writer that remembers which jobs have ended."""

from collections.abc import Callable, Sequence

from services.jobs.events import JobKey
from services.status.domain.block import NO_PROJECTION, Block, Projection
from services.status.domain.job import ChunkChange, Job, JobChange, StoredJob
from services.status.ports import JobWriter


class TerminalJobs:
    """Passes every call to another writer; `found` has the jobs that are stored and terminal, as read or written last.

    A job that was terminal before is among them: the process that ended it may have stopped before it published that.
    `on_written` gets the terminal jobs of each write.
    """

    def __init__(self, jobs: JobWriter, *, on_written: Callable[[Sequence[Job]], None]) -> None:
        self._jobs = jobs
        self._on_written = on_written
        self.found: dict[JobKey, Job] = {}

    async def load(self, keys: Sequence[JobKey]) -> dict[JobKey, StoredJob]:
        """Read jobs, and remember the terminal ones."""
        stored = await self._jobs.load(keys)
        self.found |= {key: one.job for key, one in stored.items() if one.job.is_terminal}
        return stored

    async def write(self, changes: Sequence[JobChange]) -> frozenset[JobKey]:
        """Write jobs, and remember the terminal ones."""
        lost = await self._jobs.write(changes)
        terminal = [change.job for change in changes if change.job.is_terminal]
        if lost:
            terminal = [job for job in terminal if job.key not in lost]
        self.found |= {job.profile.header.key: job for job in terminal}
        self._on_written(terminal)
        return lost

    async def find_chunks(
        self, job: Job, numbers: Sequence[int], projection: Projection = NO_PROJECTION
    ) -> list[Block]:
        """Read chunks."""
        return await self._jobs.find_chunks(job, numbers, projection)

    async def write_chunks(self, changes: Sequence[ChunkChange]) -> frozenset[int]:
        """Write chunks."""
        return await self._jobs.write_chunks(changes)
