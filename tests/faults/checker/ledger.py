"""The ledger: every request that the clients sent, and every answer that they got."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Fate(StrEnum):
    """What must become of a submitted record."""

    GOOD = "good"
    # Refused when the request is parsed, and by the validator.
    REFUSED = "refused"
    REJECTED = "rejected"
    # Cannot be decoded: only direct producers can send such a record.
    POISON = "poison"


@dataclass
class Attempt:
    """One request of an import and its answer; `status` 0 means that none came."""

    status: int = 0
    job_id: str | None = None
    has_retry_after: bool = False
    sent_at: float = 0.0
    answered_at: float = 0.0


@dataclass
class Import:
    """Records that a client sends until they are accepted, or until it gives up."""

    number: int
    # The order ids of the records, and what must become of them.
    records: Mapping[str, Fate]
    key: str | None = None
    is_invalid: bool = False
    # "orders", or "returns" of orders with these ids; one record may be sent by PUT, as a user's.
    kind: str = "orders"
    is_put: bool = False
    # A Kafka producer sent them: the job's id is known before.
    direct_job_id: str | None = None
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def job_ids(self) -> dict[str, Attempt]:
        """The jobs that were promised by a 2xx."""
        return {one.job_id: one for one in self.attempts if one.job_id and 200 <= one.status < 300}


@dataclass
class Look:
    """What a client saw of a job: its counts and state, in the order of its requests."""

    job_id: str
    sent_at: float
    answered_at: float
    terminal: bool
    counts: tuple[int, int, int]
    events: int


@dataclass
class Walk:
    """The events of a job that a client got by following the pages' links."""

    job_id: str
    events: list[str] = field(default_factory=list)


@dataclass
class TaggedPage:
    """A page under its entity tag: two pages with the same tag must be the same."""

    url: str
    etag: str
    body: bytes


@dataclass
class OrderAttempt:
    """One request for codes and its answer."""

    status: int = 0
    transaction_id: str | None = None


@dataclass
class CodeOrder:
    """An order of codes that a client sends until it is accepted."""

    number: str
    lines: Mapping[str, int]
    attempts: list[OrderAttempt] = field(default_factory=list)
    # The codes by stock id, each time the client got some.
    seen: list[Mapping[str, str]] = field(default_factory=list)

    @property
    def transaction_ids(self) -> set[str]:
        """The transactions that were promised by a 2xx."""
        return {one.transaction_id for one in self.attempts if one.transaction_id and 200 <= one.status < 300}


@dataclass
class Reading:
    """The events that a reader got by following the feed from behind a sequence, page by page."""

    after: int = 0
    events: list[Any] = field(default_factory=list)


@dataclass
class Arrival:
    """An event that has reached an endpoint, which took it or answered with an error."""

    event_id: str
    body: bytes
    is_taken: bool


@dataclass
class Endpoint:
    """An endpoint that a client asked for. Events behind `head_after` are owed to it, those up to `head_before` not.

    The heads are the feed's when the request was sent and answered; without an answer, nothing is owed.
    """

    url: str
    types: Sequence[str]
    is_ordered: bool
    head_before: int
    head_after: int | None = None
    arrivals: list[Arrival] = field(default_factory=list)


@dataclass
class Ledger:
    """Everything that the clients know."""

    imports: list[Import] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    walks: list[Walk] = field(default_factory=list)
    pages: list[TaggedPage] = field(default_factory=list)
    orders: list[CodeOrder] = field(default_factory=list)
    loaded_codes: set[str] = field(default_factory=set)
    readings: list[Reading] = field(default_factory=list)
    endpoints: list[Endpoint] = field(default_factory=list)
    # Bodies of errors, for the search of secrets.
    errors: list[bytes] = field(default_factory=list)
    # Answers that no fault excuses, such as a 500.
    surprises: list[str] = field(default_factory=list)
    secrets: set[bytes] = field(default_factory=set)

    def job_ids(self) -> dict[str, Import]:
        """The jobs that were promised, with what they hold."""
        return {job_id: one for one in self.imports for job_id in one.job_ids}


@dataclass(frozen=True)
class Violation:
    """A broken invariant and the shortest account of it."""

    invariant: str
    message: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.message}"


@dataclass
class KafkaRecord:
    """What the checker needs of a record: key and headers, never the value."""

    topic: str
    key: bytes
    headers: Mapping[str, bytes]

    @property
    def identity(self) -> tuple[str, int] | None:
        """The job and index that the headers name."""
        job_id, index = self.headers.get("jobId"), self.headers.get("index")
        return None if job_id is None or index is None else (job_id.decode("ascii", "replace"), int(index))

    @property
    def record_id(self) -> str:
        """The order id at the end of a key of site, channel and id."""
        return self.key.decode("utf-8", "replace").rpartition("|")[2]


@dataclass
class Evidence:
    """What was found after healing."""

    # By job: summary and events, as the API shows them; None where it knows no such job.
    jobs: dict[str, Any] = field(default_factory=dict)
    listed_jobs: list[str] = field(default_factory=list)
    records: dict[str, list[KafkaRecord]] = field(default_factory=dict)
    transactions: dict[str, Any] = field(default_factory=dict)
    listed_transactions: list[Any] = field(default_factory=list)
    codes: dict[str, Mapping[str, str]] = field(default_factory=dict)
    purchase_orders: list[Any] = field(default_factory=list)
    invoices: list[Any] = field(default_factory=list)
    # Submitted records that retention deleted before the validator's committed offset reached them, and how many
    # the validators have reported as lost.
    deleted: set[tuple[str, int]] = field(default_factory=set)
    reported_lost: int = 0
    # The ledger's report of the clients' orders, by currency; None without a ledger.
    sales: list[Any] | None = None
    # The site's feed from its beginning; None without webhooks.
    feed: list[Any] | None = None
    # When the last fault was healed, and when each promised job was first seen to have ended.
    healed_at: float = 0.0
    # Time without progress after which a job expires.
    job_deadline_s: float = 900.0
    ended_at: dict[str, float] = field(default_factory=dict)

    def of(self, topics: Iterable[str]) -> list[KafkaRecord]:
        """The records of several topics."""
        return [record for topic in topics for record in self.records.get(topic, ())]
