"""Outcomes as text, one letter per record: which of them are new, and how they are written down."""

from collections.abc import Iterator

from services.status.domain.facts import FAILED, SUCCEEDED, UNDECIDED, UNPROCESSED


def claim(letters: str, at: int, wanted: str) -> str:
    """Those of the wanted outcomes, from offset `at` on, whose record is undecided: the first stored one wins."""
    span = letters[at : at + len(wanted)]
    if not span.strip(UNDECIDED):
        return wanted
    return "".join(new if old == UNDECIDED else UNDECIDED for old, new in zip(span, wanted, strict=True))


def claim_late(letters: str, late: str, at: int, wanted: str) -> str:
    """Those of the wanted outcomes whose record had been given up, and for which nothing came late before."""
    span, taken = letters[at : at + len(wanted)], late[at : at + len(wanted)]
    return "".join(
        new if old == UNPROCESSED and before == UNDECIDED and new in (SUCCEEDED, FAILED) else UNDECIDED
        for old, before, new in zip(span, taken, wanted, strict=True)
    )


def overlaid(letters: str, at: int, won: str) -> str:
    """The letters with what was won written over them."""
    span = letters[at : at + len(won)]
    if not span.strip(UNDECIDED):
        if len(span) == len(letters):
            return won
    else:
        won = "".join(old if new == UNDECIDED else new for old, new in zip(span, won, strict=True))
    return letters[:at] + won + letters[at + len(won) :]


def says_nothing(letters: str) -> bool:
    """Whether there is no outcome in it."""
    return not letters.strip(UNDECIDED)


def prefix(letters: str) -> int:
    """How many records from the start on are decided without a gap."""
    at = letters.find(UNDECIDED)
    return len(letters) if at < 0 else at


def places(letters: str, letter: str) -> Iterator[int]:
    """The offsets of a letter, ascending."""
    at = letters.find(letter)
    while at >= 0:
        yield at
        at = letters.find(letter, at + 1)


def counted(letters: str) -> tuple[int, int, int]:
    """How many succeeded, failed, stayed unprocessed."""
    # Most succeeded: counting what is rare is faster.
    failed, unprocessed = letters.count(FAILED), letters.count(UNPROCESSED)
    return len(letters) - failed - unprocessed - letters.count(UNDECIDED), failed, unprocessed
