"""The part of a job that never changes after its first write."""

from msgspec import Struct

from services.jobs.events import JobHeader, JobKey


class SiteProfile(Struct, frozen=True, gc=False):
    """The configuration of a site that its jobs show; copied at a job's first write, so that answers do not change."""

    app_id: int
    root_source: str
    datacenter: str

    @property
    def source(self) -> str:
        """The application: the root source up to the slash."""
        return self.root_source.partition("/")[0]


class JobProfile(Struct, frozen=True, gc=False):
    """A job's header and its site's configuration."""

    header: JobHeader
    site: SiteProfile

    @property
    def key(self) -> JobKey:
        """The job's key."""
        return self.header.key

    @property
    def total(self) -> int:
        """Number of records in the job."""
        return self.header.total
