"""What judging needs from the world."""

from collections.abc import Container, Sequence
from typing import Protocol

from services.sales.records import Record
from services.validator.domain.submitted import Submitted, Unreadable
from services.validator.domain.verdict import Verdict


class Reader(Protocol):
    """Reads records off the wire."""

    def read(self, submitted: Submitted) -> Record | Unreadable:
        """The record, or why the bytes are none."""
        ...


class Catalogue(Protocol):
    """Knows the products of every site."""

    def products_of(self, site: int) -> Container[str]:
        """The site's product ids; none if the site is unknown."""
        ...


class Publisher(Protocol):
    """Takes verdicts to Kafka."""

    async def publish(self, verdicts: Sequence[Verdict], *, at_us: int) -> None:
        """Return when all in-sync replicas have the verdicts and what they mean for jobs; raise `Away` otherwise."""
        ...
