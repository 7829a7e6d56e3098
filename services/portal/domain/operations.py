"""Topics, dead letters, replays and the audit trail, as the operators' API has them."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
from msgspec import Raw, Struct

# What a replay's state is called, its tone, and whether it goes on by itself.
STATES: Mapping[str, tuple[str, str, bool]] = {
    "counting": ("Counting", "info", True),
    "counted": ("Waits for you", "warning", False),
    "running": ("Running", "info", True),
    "aborted": ("Aborted", "warning", False),
    "finished": ("Finished", "good", False),
    "refused": ("Too many", "bad", False),
}
CRITERIA = ("reason", "topic", "group", "since", "until")
MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400


class LagView(Struct, frozen=True, kw_only=True, rename="camel"):
    """How far a consumer group is behind."""

    group: str
    lag: int
    oldest_unread_seconds: float | None = None


class PartitionView(Struct, frozen=True, kw_only=True, rename="camel"):
    """One partition."""

    number: int
    begin: int
    end: int


class TopicLoad(Struct, frozen=True, kw_only=True, rename="camel"):
    """How much is in a topic."""

    name: str
    description: str
    exists: bool
    records: int
    records_per_second: float
    partitions: Sequence[PartitionView]
    groups: Sequence[LagView]


class LetterView(Struct, frozen=True, kw_only=True, rename="camel"):
    """One dead letter; its record only where one is asked for."""

    name: str
    reason: str
    detail: str
    topic: str
    group: str
    source: str
    failed_at: str
    attempts: int
    state: str
    is_replayable: bool
    size: int = 0
    is_whole: bool = True
    schema: str | None = None
    version: int | None = None
    record: Raw = Raw(b"")
    problem: str | None = None

    @property
    def record_text(self) -> str:
        """The record as indented JSON, amounts with all of their digits; empty without one."""
        text = bytes(self.record)
        return "" if text in {b"", b"null"} else msgspec.json.format(text, indent=2).decode()


class GroupView(Struct, frozen=True, kw_only=True, rename="camel"):
    """Dead letters of one reason, topic and consumer group."""

    reason: str
    topic: str
    group: str
    count: int
    replayable: int
    replayed: int
    first_failed_at: str
    last_failed_at: str
    samples: Sequence[LetterView]


class FindingsView(Struct, frozen=True, kw_only=True, rename="camel"):
    """Groups of dead letters."""

    groups: Sequence[GroupView]
    total: int
    is_complete: bool


class FilterView(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a replay selects."""

    reasons: Sequence[str] = ()
    topics: Sequence[str] = ()
    groups: Sequence[str] = ()
    since: str | None = None
    until: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it selects everything."""
        return not (self.reasons or self.topics or self.groups or self.since or self.until)


class ReplayView(Struct, frozen=True, kw_only=True, rename="camel"):
    """One replay."""

    id: str
    state: str
    filter: FilterView
    matched: int
    replayable: int
    replayed_before: int
    unreplayable: int
    replayed: int
    created_at: str
    created_by: str
    started_at: str | None = None
    started_by: str | None = None
    ended_at: str | None = None

    @property
    def state_text(self) -> str:
        """Its state in a word or two."""
        return STATES.get(self.state, (self.state, "neutral", False))[0]

    @property
    def tone(self) -> str:
        """The tone of its badge."""
        return STATES.get(self.state, (self.state, "neutral", False))[1]

    @property
    def is_in_progress(self) -> bool:
        """Whether it changes by itself."""
        return STATES.get(self.state, (self.state, "neutral", False))[2]

    @property
    def missing(self) -> int:
        """How many were counted and not sent back by this replay, though it has finished."""
        return self.replayable - self.replayed if self.state == "finished" else 0


class EntryView(Struct, frozen=True, kw_only=True, rename="camel"):
    """One entry of the audit trail."""

    id: str
    at: str
    actor: str
    action: str
    source: str
    details: Mapping[str, Any]

    @property
    def replay(self) -> str:
        """The id of the replay that it is about; empty of any other entry."""
        return str(self.details.get("replay", ""))

    @property
    def text(self) -> str:
        """The details as one line."""
        return ", ".join(f"{name}: {_to_text(value)}" for name, value in self.details.items() if name != "replay")


class Operations(Protocol):
    """The operators' API with the token of an operator; raises the errors of the client library."""

    async def topics(self) -> Sequence[TopicLoad]:
        """Return all declared topics."""

    async def dead_letters(self, criteria: Mapping[str, str]) -> FindingsView:
        """Return groups of dead letters."""

    async def dead_letter(self, topic: str, partition: str, offset: str) -> LetterView:
        """Return one dead letter with its record."""

    async def replays(self) -> Sequence[ReplayView]:
        """Return the newest replays."""

    async def replay(self, replay_id: str) -> ReplayView:
        """Return one replay."""

    async def create_replay(self, filter_: Mapping[str, Any]) -> str:
        """Add a replay, a dry run until it is started; return its id."""

    async def start_replay(self, replay_id: str) -> None:
        """Start or resume a replay."""

    async def abort_replay(self, replay_id: str) -> None:
        """Abort a replay."""

    async def audit(self, *, before: str, limit: int) -> Sequence[EntryView]:
        """Return the newest entries of the audit trail, or those before one."""


def read_criteria(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the criteria of a form or a query that are given."""
    return {name: text for name in CRITERIA if (text := fields.get(name, "").strip())}


def to_filter(criteria: Mapping[str, str]) -> dict[str, Any]:
    """Return the body of a new replay."""
    lists = {f"{name}s": [criteria[name]] for name in ("reason", "topic", "group") if name in criteria}
    return lists | {name: criteria[name] for name in ("since", "until") if name in criteria}


def describe_age(seconds: float | None) -> str:
    """Return an age in its largest unit."""
    if seconds is None:
        return "–"
    for unit_s, unit in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min")):
        if seconds >= unit_s:
            return f"{int(seconds // unit_s)} {unit}"
    return f"{seconds:.0f} s"


def _to_text(value: object) -> str:
    return " and ".join(map(str, value)) if isinstance(value, list) else str(value)
