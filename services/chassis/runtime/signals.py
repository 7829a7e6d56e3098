"""Signals before and after the event loop handles them."""

import os
import signal

HANDLED = (signal.SIGTERM, signal.SIGINT)


def exit_on_signals() -> None:
    """Exit with status 0 on SIGTERM and SIGINT. Nothing has started that would have to stop.

    Call it before the imports of a service, which take a second: a process that is stopped while it starts has not
    failed. It needs no import of its own that takes time.
    """
    for number in HANDLED:
        # An exception could be raised anywhere in an import, where it may be swallowed.
        signal.signal(number, lambda *_: os._exit(0))


def ignore_signals() -> None:
    """Ignore SIGTERM and SIGINT from now on: the process is about to end."""
    for number in HANDLED:
        signal.signal(number, signal.SIG_IGN)
