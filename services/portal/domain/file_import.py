"""The check or the import of an uploaded file: what is asked for, how far it is, and who works on it."""

import hashlib
from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec
from msgspec import Struct, field

# The rest of the site's limit is for tills and other programs.
SHARE = 0.5
MAX_RUNNING_PER_SITE = 4


class Purpose(StrEnum):
    """What is done with the records."""

    CHECK = "check"
    IMPORT = "import"


class State(StrEnum):
    """Where an import is. The last three are final."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens."""
        return self in FINAL


class Wish(StrEnum):
    """What its owner wants of an import; a worker that has it takes notice within seconds."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"


FINAL = frozenset({State.DONE, State.FAILED, State.CANCELLED})


class ReadOptions(Struct, frozen=True):
    """How a file is read. What is None is detected; `mapping` names the column of a field."""

    kind: str = "orders"
    mode: str | None = None
    format: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    zone: str | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)


class Counts(Struct, frozen=True):
    """How many records are where: sent, of these with an outcome, and those that cannot be sent."""

    sent: int = 0
    succeeded: int = 0
    failed: int = 0
    unsent: int = 0

    @property
    def decided(self) -> int:
        """Records whose outcome is known."""
        return self.succeeded + self.failed + self.unsent

    @property
    def faulty(self) -> int:
        """Records that have to be mended."""
        return self.failed + self.unsent


class FaultGroup(Struct, frozen=True):
    """Records with the same kind of fault; `place` is a JSON pointer with `*` for positions."""

    code: str
    place: str
    product: str | None
    records: int


class FileImport(Struct, frozen=True, kw_only=True):
    """A check or an import of a file.

    `epoch` counts the workers that had it: what an earlier one reports is ignored. `problem` is for its owner;
    `needs_sign_in` is set if the credentials that it was started with are refused.
    """

    id: str
    site: int
    client_id: str
    upload: str
    file_name: str
    purpose: Purpose
    options: ReadOptions
    created_us: int
    expires_us: int
    state: State = State.WAITING
    wish: Wish = Wish.RUN
    owner: str = ""
    epoch: int = 0
    lease_until_us: int = 0
    not_before_us: int = 0
    total: int | None = None
    counts: Counts = Counts()
    records_per_s: float = 0.0
    left_s: float | None = None
    ended_us: int | None = None
    problem: str | None = None
    needs_sign_in: bool = False
    groups: Sequence[FaultGroup] = field(default_factory=list)
    mends_job: str | None = None
    mends_import: str | None = None

    @property
    def can_pause(self) -> bool:
        """Whether it can be paused."""
        return self.state in {State.WAITING, State.RUNNING} and self.wish is Wish.RUN

    @property
    def can_resume(self) -> bool:
        """Whether it can go on."""
        return self.state is State.PAUSED or (self.state is State.RUNNING and self.wish is Wish.PAUSE)

    @property
    def can_cancel(self) -> bool:
        """Whether it can be ended."""
        return not self.state.is_final and self.wish is not Wish.CANCEL


class EndReason(StrEnum):
    """Why an import no longer runs here."""

    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"
    NOT_ALLOWED = "not_allowed"
    UNAVAILABLE = "unavailable"
    LOST = "lost"


class Ended(Struct, frozen=True):
    """How an import has ended here; `problem` is for its owner."""

    reason: EndReason
    problem: str | None = None


class ImportProgress(Struct, frozen=True):
    """How far an import is; `waits_for` says which service it waits for."""

    total: int | None
    counts: Counts
    records_per_s: float = 0.0
    left_s: float | None = None
    waits_for: str | None = None


def import_id(site: int, sha256: str, options: ReadOptions, purpose: Purpose, *, generation: int) -> str:
    """Return the id of an import. The same file, read in the same way, is the same import, however often it is sent.

    With another `generation` it is imported once more; a file can be checked any number of times.
    """
    what = msgspec.json.encode([site, sha256, options, purpose, generation], order="deterministic")
    return hashlib.sha256(what).hexdigest()[:32]


def batch_key(import_id: str, first: int, attempt: int) -> str:
    """Return the `Idempotency-Key` of a batch: the same for every worker that sends it."""
    return hashlib.sha256(f"{import_id}:{first}:{attempt}".encode()).hexdigest()[:32]


def share_of(running: int) -> float:
    """Return the part of the site's limit that each of its running imports may use."""
    return SHARE / max(running, 1)
