"""A block: a stretch of a job's records whose outcomes are kept and changed together.

A small job is one block; a large one is cut into chunks. The first outcome stored for a record wins, whatever comes
later, however it is cut: a run claims those of its records that nobody claimed before.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from services.status.domain.event import told_of
from services.status.domain.facts import FAILED, UNDECIDED, UNPROCESSED
from services.status.domain.letters import claim, claim_late, overlaid, places, says_nothing
from services.status.domain.profile import Profile
from services.status.domain.updates import Dated


class Entry(Struct, frozen=True, gc=False):
    """A run as it is kept: the letters that it won, and what readers will be shown of them.

    `rows` is kept as it came. `levels`, `events` and `details` speak of the failures won, in order, one part each.
    A late entry won nothing; it tells what became of records that had been given up.
    """

    first: int
    letters: str
    at_us: int
    rows: str = ""
    levels: str = ""
    events: str = ""
    details: str = ""
    is_late: bool = False

    def failures(self, texts: str, separator: str) -> Iterator[tuple[int, str]]:
        """Index and part of one of the texts, for each failure that was won."""
        if FAILED not in self.letters:
            return
        for place, part in zip(places(self.letters, FAILED), texts.split(separator), strict=True):
            yield self.first + place, part


class Block(Struct, frozen=True, gc=False):
    """The outcomes of the records from `first` on; `version` 0 is not stored yet.

    `late` has the letters that came after their record was given up.
    """

    number: int
    first: int
    version: int
    letters: str
    late: str
    entries: tuple[Entry, ...]

    @property
    def last_us(self) -> int:
        """When the latest of its outcomes came to be; 0 if there is none."""
        return max([entry.at_us for entry in self.entries if not entry.is_late], default=0)


def empty_block(number: int, first: int, size: int) -> Block:
    """A block of which nothing is known."""
    return Block(number, first, 0, UNDECIDED * size, UNDECIDED * size, ())


def block_of(number: int, first: int, size: int, *, version: int, entries: Sequence[Entry]) -> Block:
    """The block that these entries made."""
    letters = late = UNDECIDED * size
    for entry in entries:
        if entry.is_late:
            late = overlaid(late, entry.first - first, entry.letters)
        else:
            letters = overlaid(letters, entry.first - first, entry.letters)
    return Block(number, first, version, letters, late, tuple(entries))


def absorb(block: Block, runs: Sequence[Dated], profile: Profile) -> tuple[Block, tuple[Entry, ...]]:
    """The block after these runs, which must lie within it, and the entries added: none if nothing was new."""
    letters, late = block.letters, block.late
    added: list[Entry] = []
    for dated in runs:
        run, at = dated.run, dated.run.first - block.first
        if UNPROCESSED in letters:
            lately = claim_late(letters, late, at, run.letters)
            if not says_nothing(lately):
                late = overlaid(late, at, lately)
                added.append(Entry(run.first, lately, dated.at_us, run.rows, is_late=True))
        won = claim(letters, at, run.letters)
        if not says_nothing(won):
            letters = overlaid(letters, at, won)
            added.append(_entry(dated, won, profile))
    if not added:
        return block, ()
    entries = (*block.entries, *added)
    return Block(block.number, block.first, block.version + 1, letters, late, entries), tuple(added)


def _entry(dated: Dated, won: str, profile: Profile) -> Entry:
    run = dated.run
    if FAILED not in won:
        return Entry(run.first, won, dated.at_us, run.rows)
    kept = run.failures
    if won != run.letters:
        kept = [failure for failure in kept if won[failure.index - run.first] == FAILED]
    return Entry(run.first, won, dated.at_us, run.rows, *told_of(kept, dated.at_us, profile))
