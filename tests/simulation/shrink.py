"""Shrinks a story: leaves out steps for as long as the same invariant is violated."""

from collections.abc import Collection, Sequence

from tests.simulation.play import Outcome, play
from tests.simulation.story import Step

MAX_PLAYS = 300


def shrink(
    seed: int, steps: Sequence[Step], *, invariants: Collection[str] | None = None
) -> tuple[list[Step], Outcome]:
    """Return a shortest story that still violates the same invariant, the first or one of these, and its outcome."""
    outcome = play(seed, steps)
    found = [one.invariant for one in outcome.violations if invariants is None or one.invariant in invariants]
    if not found:
        return list(steps), outcome
    invariant = found[0]
    left, plays, size = list(steps), 0, max(len(steps) // 2, 1)
    while plays < MAX_PLAYS:
        at, shorter = 0, False
        while at < len(left) and plays < MAX_PLAYS:
            tried = left[:at] + left[at + size :]
            tried_outcome = play(seed, tried)
            plays += 1
            if any(violation.invariant == invariant for violation in tried_outcome.violations):
                left, outcome, shorter = tried, tried_outcome, True
            else:
                at += size
        if size == 1 and not shorter:
            break
        size = max(size // 2, 1)
    return left, outcome
