"""Failpoints: named places where tests kill the process, to see what survives.

`FAILPOINTS=name,other:3` kills the process when it reaches `name` for the first time, or `other` for the third time.
"""

import os
import signal
from collections.abc import Callable


def failpoint(name: str) -> Callable[[], None]:
    """Return the function to call at this place. It does nothing unless the environment names the place at import."""
    for entry in os.environ.get("FAILPOINTS", "").split(","):
        entry_name, _, count = entry.partition(":")
        if entry_name == name:
            return _Kill(int(count or 1))
    return _noop


def _noop() -> None:
    """Do nothing."""


class _Kill:
    """Kills the process at the n-th call."""

    def __init__(self, count: int) -> None:
        self._remaining = count

    def __call__(self) -> None:
        self._remaining -= 1
        if self._remaining == 0:
            os.kill(os.getpid(), signal.SIGKILL)
