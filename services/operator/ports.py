"""What the flows need from the world."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from services.operator.domain.audit import AuditEntry
from services.operator.domain.dead_letter import DecodedLetter, Findings
from services.operator.domain.replay import Count, Replay, Selection, State
from services.operator.domain.topic import TopicView

# Called with the number of dead letters that are sent back so far; False ends the run.
MayContinue = Callable[[int], Awaitable[bool]]


class Topics(Protocol):
    """The cluster's topics. Raises `UnavailableError`."""

    async def describe(self) -> Sequence[TopicView]:
        """Return all declared topics with their consumer groups."""


class DeadLetterTopics(Protocol):
    """The dead-letter topics. Raises `UnavailableError`."""

    async def find(self, selection: Selection) -> Findings:
        """Return groups of the newest matching dead letters."""

    async def decode(self, name: str) -> DecodedLetter | None:
        """Return one dead letter with its record, None if there is none of this name."""

    async def count(self, selection: Selection) -> Count:
        """Return how many dead letters match. Raises `TooManyMatchesError`."""

    async def replay(self, replay: Replay, may_continue: MayContinue) -> bool:
        """Send back what the replay has counted and nobody has sent back yet; return whether all of it is.

        Ends early when `may_continue`, which is called before the first and after each batch, returns False.
        """


class ReplayStore(Protocol):
    """Replays, and the lease of who runs them. Raises `UnavailableError`."""

    async def add(self, replay: Replay) -> None:
        """Add a replay."""

    async def find(self, replay_id: str) -> Replay | None:
        """Return a replay."""

    async def newest(self, *, limit: int) -> Sequence[Replay]:
        """Return the newest replays."""

    async def move(self, replay_id: str, allowed: Sequence[State], **changes: Any) -> Replay | None:
        """Change a replay that is in one of the allowed states and return it; None if it is not."""

    async def next_unfinished(self) -> Replay | None:
        """Return the oldest replay that is to be counted or run."""

    async def lease(self, owner: str, *, lease_us: int) -> bool:
        """Take or renew the one lease; False while another owner has it."""

    async def release(self, owner: str) -> None:
        """Give the lease back."""


class AuditTrail(Protocol):
    """The audit trail. Raises `UnavailableError`."""

    async def record(self, action: str, *, actor: str, source: str, details: Mapping[str, Any]) -> None:
        """Add an entry."""

    async def entries(self, *, before: str, limit: int) -> Sequence[AuditEntry]:
        """Return entries, newest first, optionally only those before an entry's id."""
