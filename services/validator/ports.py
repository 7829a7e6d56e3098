"""Ports of the validator."""

from collections.abc import Container, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from services.sales.fast_avro_check import ProductsOf
from services.sales.records import RecordSummary, SalesRecord
from services.validator.domain.submitted_record import DeadLetterReason, SubmittedRecord
from services.validator.domain.verdict import Verdict


class RecordReader(Protocol):
    """Reads submitted records."""

    async def prefetch_schemas(self, batches: Iterable[Sequence[SubmittedRecord]]) -> Sequence[int]:
        """Look up unknown schemas; return how many records of each batch precede the first whose schema is pending."""

    def match_fast(
        self, submitted: SubmittedRecord, now_us: int, currencies: AbstractSet[str], products_of: ProductsOf
    ) -> RecordSummary | None:
        """Return the summary of a usual record that keeps every rule and has known products only.

        None if the record must be decoded.
        """

    def decode(self, submitted: SubmittedRecord) -> SalesRecord | DeadLetterReason:
        """Return the decoded record, or why it cannot be decoded."""


class Catalogue(Protocol):
    """Holds the products of all sites."""

    def products(self, site: int) -> Container[str]:
        """Return the site's product ids; empty for an unknown site."""


class Publisher(Protocol):
    """Publishes verdicts."""

    async def publish(self, verdicts: Sequence[Verdict], *, at_us: int) -> None:
        """Return when all in-sync replicas have the verdicts and their job events; raises `UnavailableError`."""
