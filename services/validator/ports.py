"""What judging needs from the world."""

from collections.abc import Container, Hashable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from services.sales.records import RecordSummary, SalesRecord
from services.validator.domain.submitted_record import DeadLetterReason, SubmittedRecord
from services.validator.domain.verdict import Verdict

# A partition of a topic.
Partition = Hashable


class RecordReader(Protocol):
    """Reads records off the wire."""

    async def prefetch_schemas(self, submitted: Iterable[Sequence[SubmittedRecord]]) -> None:
        """Learn the schemas that these records name and that are not known yet; raises `Away` if that fails."""
        ...

    def match_fast(
        self, submitted: SubmittedRecord, *, now_us: int, currencies: AbstractSet[str]
    ) -> RecordSummary | None:
        """What is told of a record that surely can be read and keeps every rule; None where that is not sure."""
        ...

    def decode(self, submitted: SubmittedRecord) -> SalesRecord | DeadLetterReason:
        """The record, or why the bytes are none."""
        ...


class Catalogue(Protocol):
    """Knows the products of every site."""

    def products(self, site: int) -> Container[str]:
        """The site's product ids; none if the site is unknown."""
        ...


class DeadLetterLimit(Protocol):
    """Stops a partition that would be drained into dead letters."""

    def allowed(self, partition: Partition, total: int, dead: Sequence[int]) -> int:
        """How many of the next `total` records may be handled; `dead` are the positions of the dead letters."""
        ...

    def record(self, partition: Partition, total: int, dead: Sequence[int]) -> None:
        """Take down what became of them; stop the partition if not all were admitted."""
        ...


class Publisher(Protocol):
    """Takes verdicts to Kafka."""

    async def publish(self, verdicts: Sequence[Verdict], *, at_us: int) -> None:
        """Return when all in-sync replicas have the verdicts and what they mean for jobs; raise `Away` otherwise."""
        ...
