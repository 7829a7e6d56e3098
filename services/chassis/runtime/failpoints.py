"""Failpoints: named places where tests kill the process, to see what survives.

`FAILPOINTS=name,other:3` kills the process when it reaches `name` for the first time, or `other` for the third time.
"""

import os
import signal
from collections.abc import Callable
from itertools import count


def failpoint(name: str) -> Callable[[], None]:
    """Return the function to call at this place. It does nothing unless the environment names the place at import."""
    entries = dict(entry.partition(":")[::2] for entry in os.environ.get("FAILPOINTS", "").split(","))
    if name not in entries:
        return lambda: None
    calls, fatal_call = count(1), int(entries[name] or 1)
    return lambda: os.kill(os.getpid(), signal.SIGKILL) if next(calls) == fatal_call else None
