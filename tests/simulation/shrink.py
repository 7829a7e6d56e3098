"""Shrinks a story: leaves out steps for as long as the same invariant is violated."""

from collections.abc import Sequence

from tests.simulation.play import Outcome, play
from tests.simulation.story import Step

MAX_PLAYS = 300


def shrink(seed: int, steps: Sequence[Step]) -> tuple[list[Step], Outcome]:
    """Return a shortest story that still violates the same invariant, and its outcome."""
    outcome = play(seed, steps)
    if not outcome.violations:
        return list(steps), outcome
    invariant = outcome.violations[0].invariant
    left, plays, size = list(steps), 0, max(len(steps) // 2, 1)
    while plays < MAX_PLAYS:
        at, shorter = 0, False
        while at < len(left) and plays < MAX_PLAYS:
            tried = left[:at] + left[at + size :]
            found = play(seed, tried)
            plays += 1
            if any(violation.invariant == invariant for violation in found.violations):
                left, outcome, shorter = tried, found, True
            else:
                at += size
        if size == 1 and not shorter:
            break
        size = max(size // 2, 1)
    return left, outcome
