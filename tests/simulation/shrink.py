"""Shrinks a story: leaves out steps for as long as the same invariant is violated."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tests.simulation.play import Outcome, play
from tests.simulation.story import Step

MAX_PLAYS = 600
# Without a step everything after it happens at other times, and what was a race may be none: other schedules are tried
# before the step counts as needed. A short story takes little time, and the last steps are worth it.
SCHEDULES, SCHEDULES_OF_SHORT = 3, 12
SHORT = 20
ROBUSTNESS_PLAYS = 6


@dataclass
class Shrunk:
    """A story that violates an invariant, with the schedule in which it does."""

    steps: list[Step]
    schedule: int
    outcome: Outcome


def shrink(seed: int, steps: Sequence[Step], *, invariants: Collection[str] | None = None) -> Shrunk:
    """Return a shortest story that still violates the same invariant, the first or one of these."""
    shrunk = Shrunk(list(steps), 0, play(seed, steps))
    found = [one.invariant for one in shrunk.outcome.violations if invariants is None or one.invariant in invariants]
    if not found:
        return shrunk
    search = _Search(seed, found[0])
    size = max(len(steps) // 2, 1)
    while search.plays < MAX_PLAYS:
        at, is_shorter = 0, False
        while at < len(shrunk.steps) and search.plays < MAX_PLAYS:
            shorter = search.try_steps(shrunk.steps[:at] + shrunk.steps[at + size :], shrunk.schedule)
            if shorter is None:
                at += size
            else:
                shrunk, is_shorter = shorter, True
        if size == 1 and not is_shorter:
            break
        size = max(size // 2, 1)
    return shrunk


def most_robust(candidates: Mapping[int, Sequence[Step]], *, invariants: Collection[str] | None = None) -> int:
    """Return the seed whose story violates an invariant in the most schedules.

    What only one schedule shows cannot be shrunk: each step that is left out changes the schedule.
    """

    def violating(seed: int) -> int:
        outcomes = (play(seed, candidates[seed], schedule=tried) for tried in range(1, ROBUSTNESS_PLAYS + 1))
        return sum(
            any(invariants is None or one.invariant in invariants for one in outcome.violations) for outcome in outcomes
        )

    return max(sorted(candidates), key=violating)


class _Search:
    def __init__(self, seed: int, invariant: str) -> None:
        self._seed = seed
        self._invariant = invariant
        self.plays = 0

    def try_steps(self, steps: list[Step], schedule: int) -> Shrunk | None:
        """Return the story if it violates the invariant in this schedule or in one of a few others."""
        others = SCHEDULES_OF_SHORT if len(steps) <= SHORT else SCHEDULES
        for tried in (schedule, *(self.plays + number for number in range(1, others))):
            outcome = play(self._seed, steps, schedule=tried)
            self.plays += 1
            if any(violation.invariant == self._invariant for violation in outcome.violations):
                return Shrunk(steps, tried, outcome)
        return None
