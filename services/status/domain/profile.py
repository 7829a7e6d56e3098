"""What is fixed about a job from its first write on."""

from msgspec import Struct

from services.jobs.events import JobHeader, JobKey


class SiteProfile(Struct, frozen=True, gc=False):
    """A site's configuration as its jobs show it; captured at a job's first write, so that answers stay the same."""

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
        """Whose profile it is."""
        return self.header.key

    @property
    def total(self) -> int:
        """Number of records in the job."""
        return self.header.total
