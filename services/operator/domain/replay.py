"""A replay of dead letters: counted first, then confirmed, run, perhaps aborted and resumed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class State(StrEnum):
    """How far a replay is."""

    COUNTING = "counting"
    # The dry run has ended; somebody must confirm it.
    COUNTED = "counted"
    RUNNING = "running"
    ABORTED = "aborted"
    FINISHED = "finished"
    # More dead letters match than one replay may have.
    REFUSED = "refused"


# From which states somebody may start or abort a replay. Starting an aborted one resumes it.
STARTABLE = (State.COUNTED, State.ABORTED)
ABORTABLE = (State.COUNTING, State.COUNTED, State.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which dead letters; an empty criterion matches all. `groups` are those of the consumers that gave them up."""

    reasons: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    since_us: int | None = None
    until_us: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it selects everything."""
        return self == Selection()


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What a dry run has found: `replayable` of the `matched` ones can be sent back.

    `ends` has for each partition of a dead-letter topic, `topic/partition`, the offset behind the last one that was
    counted: what fails later is not part of the replay.
    """

    matched: int
    replayable: int
    replayed_before: int
    unreplayable: int
    ends: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """One replay. `replayed` counts the dead letters that it has sent back, by the marks in their topics."""

    id: str
    selection: Selection
    state: State
    created_us: int
    created_by: str
    matched: int = 0
    replayable: int = 0
    replayed_before: int = 0
    unreplayable: int = 0
    ends: Mapping[str, int] = field(default_factory=dict)
    replayed: int = 0
    started_us: int | None = None
    started_by: str = ""
    ended_us: int | None = None


class ReplayNotFoundError(Exception):
    """There is no replay with this id."""


class WrongStateError(Exception):
    """The replay is in a state that does not allow it."""

    def __init__(self, state: State) -> None:
        super().__init__(f"the replay is {state}")
        self.state = state


class TooManyMatchesError(Exception):
    """More dead letters match than one replay may have."""
