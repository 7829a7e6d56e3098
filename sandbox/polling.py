"""Wait for a condition instead of a fixed time."""

import time
from collections.abc import Callable

from sandbox.errors import NotReadyError

POLL_INTERVAL_S = 0.02


def wait_until(
    condition: Callable[[], bool], *, deadline_s: float, description: str, diagnostics: Callable[[], str] = str
) -> None:
    """Return once `condition` holds; raise `NotReadyError` with the `diagnostics` after `deadline_s` seconds."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise NotReadyError(f"{description}: not within {deadline_s:g} s\n{diagnostics()}".rstrip())
        time.sleep(POLL_INTERVAL_S)  # the condition is another process's; the deadline ends the wait
