"""Notifies live streams that their session was written, by any replica: it may have ended."""

from collections.abc import Callable

from services.chassis.mongodb.change_stream import ChangeStreamListener
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.notifier import Notifier
from services.portal import metrics
from services.portal.adapters.session_store import SESSIONS


class SessionNotifier(Notifier[str]):
    """Streams register under the id of their session; the listeners get the ids of those that were written."""

    def __init__(self, *, max_streams: int) -> None:
        super().__init__(max_waiters=max_streams, waiting=metrics.LIVE_STREAMS, refused=metrics.LIVE_STREAMS_REFUSED)


class SessionChangeListener(ChangeStreamListener[str]):
    """Reports writes of all replicas to the notifier, while there are streams."""

    def __init__(self, mongo: Mongo, notifier: SessionNotifier, *, clock_s: Callable[[], float]) -> None:
        super().__init__(mongo, SESSIONS, notifier, to_key=str, opened=metrics.CHANGE_STREAMS_OPENED, clock_s=clock_s)
