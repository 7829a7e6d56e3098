"""Import jobs in the words of their pages. Counts always add up: total = succeeded + failed + pending."""

from msgspec import Struct

from tillstream.models import Job

# State, what people read, and the tone of its badge.
STATES = {
    "RECEIVED": ("Waiting", "neutral"),
    "VALIDATING": ("In progress", "info"),
    "COMPLETED": ("Done", "good"),
    "COMPLETED_WITH_WARNING": ("Some failed", "warning"),
    "FAILED": ("All failed", "bad"),
    "EXPIRED": ("Timed out", "bad"),
}
KINDS = {"orders": "Orders", "returns": "Returns"}
MODES = {"online": "Online", "offline": "Offline"}


class JobCounts(Struct, frozen=True, gc=False):
    """How many records came to what; `pending` ones of a job that timed out will stay so."""

    total: int
    succeeded: int
    failed: int

    @property
    def pending(self) -> int:
        """Records without an outcome."""
        return self.total - self.succeeded - self.failed


class JobView(Struct, frozen=True, kw_only=True):
    """A job as its pages show it."""

    id: str
    state: str
    state_text: str
    tone: str
    kind: str
    mode: str
    counts: JobCounts
    created: str
    last_modified: str
    completed: str | None
    duration: str
    is_finished: bool

    @property
    def short_id(self) -> str:
        """Enough of the id to recognise it."""
        return self.id[:8]

    @property
    def pending_text(self) -> str:
        """What the records without an outcome are called."""
        return "Not processed" if self.is_finished else "Pending"


def describe_job(job: Job) -> JobView:
    """Return what pages show of a job."""
    text, tone = STATES.get(job.state, (job.state.capitalize(), "neutral"))
    counts = JobCounts(job.counts.total, job.counts.success, job.counts.failed)
    return JobView(
        id=job.job_id,
        state=job.state,
        state_text=text,
        tone=tone,
        kind=KINDS.get(job.attributes.type, job.attributes.type),
        mode=MODES.get(job.attributes.mode, job.attributes.mode),
        counts=counts,
        created=job.job_created,
        last_modified=job.last_modified,
        completed=job.completed_at,
        duration=job.duration,
        is_finished=job.terminal,
    )
