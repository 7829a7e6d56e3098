"""Places at which a process can be told to die, so that tests see what survives.

`FAILPOINTS=name,other:3` kills the process the first time it reaches `name`, and the third time it reaches `other`.
"""

import os
import signal
from collections.abc import Callable


def failpoint(name: str) -> Callable[[], None]:
    """What to call at the place of this name. It does nothing unless the environment names the place at import."""
    for part in os.environ.get("FAILPOINTS", "").split(","):
        named, _, times = part.partition(":")
        if named == name:
            return _Kill(int(times or 1))
    return _noop


def _noop() -> None:
    """Live on."""


class _Kill:
    """The end, at the n-th call."""

    def __init__(self, times: int) -> None:
        self._left = times

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
