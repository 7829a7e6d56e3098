"""Outcomes as text, one letter per record: which of them are new, and how they are written down."""

from collections.abc import Iterator

from services.jobs.events import FAILED, SUCCEEDED, UNDECIDED

# Given to the undecided records of an expired job; never in an event.
UNPROCESSED = "U"


def claim(outcomes: str, at: int, new: str) -> str:
    """Those of the wanted outcomes, from offset `at` on, whose record is undecided: the first stored one wins."""
    span = outcomes[at : at + len(new)]
    if not span.strip(UNDECIDED):
        return new
    return "".join(new if old == UNDECIDED else UNDECIDED for old, new in zip(span, new, strict=True))


def claim_late(outcomes: str, late: str, at: int, new: str) -> str:
    """Those of the wanted outcomes whose record had been given up, and for which nothing came late before."""
    span, taken = outcomes[at : at + len(new)], late[at : at + len(new)]
    return "".join(
        new if old == UNPROCESSED and before == UNDECIDED and new in (SUCCEEDED, FAILED) else UNDECIDED
        for old, before, new in zip(span, taken, new, strict=True)
    )


def overlay(outcomes: str, at: int, won: str) -> str:
    """The letters with what was won written over them."""
    span = outcomes[at : at + len(won)]
    if not span.strip(UNDECIDED):
        if len(span) == len(outcomes):
            return won
    else:
        won = "".join(old if new == UNDECIDED else new for old, new in zip(span, won, strict=True))
    return outcomes[:at] + won + outcomes[at + len(won) :]


def is_empty(letters: str) -> bool:
    """Whether there is no outcome in it."""
    return not letters.strip(UNDECIDED)


def decided_prefix(letters: str) -> int:
    """How many records from the start on are decided without a gap."""
    at = letters.find(UNDECIDED)
    return len(letters) if at < 0 else at


def find_indexes(letters: str, letter: str) -> Iterator[int]:
    """The offsets of a letter, ascending."""
    at = letters.find(letter)
    while at >= 0:
        yield at
        at = letters.find(letter, at + 1)


def count_outcomes(letters: str) -> tuple[int, int, int]:
    """How many succeeded, failed, stayed unprocessed."""
    # Most succeeded: counting what is rare is faster.
    failed, unprocessed = letters.count(FAILED), letters.count(UNPROCESSED)
    return len(letters) - failed - unprocessed - letters.count(UNDECIDED), failed, unprocessed
