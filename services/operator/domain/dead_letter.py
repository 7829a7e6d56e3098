"""Dead letters as operators see them: in groups, and one with its record."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

MAX_SAMPLES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One dead letter without its record. `group` is that of the consumer that gave it up."""

    name: str
    reason: str
    detail: str
    topic: str
    group: str
    source: str
    failed_at_us: int
    attempts: int
    state: str
    is_replayable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterGroup:
    """Dead letters of one reason, topic and consumer group; the samples are the newest ones."""

    reason: str
    topic: str
    group: str
    count: int
    replayable: int
    replayed: int
    first_failed_at_us: int
    last_failed_at_us: int
    samples: Sequence[DeadLetter]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The groups, largest first. `is_complete` tells whether all dead letters were read, not only the newest ones."""

    groups: Sequence[LetterGroup]
    total: int
    is_complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedLetter:
    """A dead letter with its record as JSON, personal fields masked; without a record, `problem` says why."""

    letter: DeadLetter
    size: int
    is_whole: bool
    schema: str = ""
    version: int = 0
    record: str = ""
    problem: str = ""


def group_letters(letters: Iterable[DeadLetter]) -> list[LetterGroup]:
    """Group by reason, topic and consumer group; largest first."""

    def key(letter: DeadLetter) -> tuple[str, str, str]:
        return letter.reason, letter.topic, letter.group

    grouped = groupby(sorted(letters, key=lambda letter: (key(letter), letter.failed_at_us)), key)
    groups = [_to_group(*names, list(found)) for names, found in grouped]
    return sorted(groups, key=lambda each: -each.count)


def _to_group(reason: str, topic: str, group: str, letters: Sequence[DeadLetter]) -> LetterGroup:
    return LetterGroup(
        reason=reason,
        topic=topic,
        group=group,
        count=len(letters),
        replayable=sum(letter.is_replayable for letter in letters),
        replayed=sum(letter.state == "replayed" for letter in letters),
        first_failed_at_us=letters[0].failed_at_us,
        last_failed_at_us=letters[-1].failed_at_us,
        samples=letters[: -MAX_SAMPLES - 1 : -1],
    )
