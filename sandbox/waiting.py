"""Waiting for a condition, never for a time."""

import time
from collections.abc import Callable

PAUSE_S = 0.02


class NeverReady(Exception):  # noqa: N818 - says what happened, as the other exceptions of the house do
    """A program did not become what it should in time. The message ends with what it last said."""


def until(condition: Callable[[], bool], *, deadline_s: float, what: str, evidence: Callable[[], str] = str) -> None:
    """Return once `condition` holds; raise `NeverReady` with the `evidence` when it does not within the deadline."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise NeverReady(f"{what}: not within {deadline_s:g} s\n{evidence()}".rstrip())
        time.sleep(PAUSE_S)  # between two looks at the condition
