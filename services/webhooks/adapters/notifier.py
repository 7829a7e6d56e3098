"""Wakes readers that wait for events of a site as soon as this replica or another one appends them."""

from collections.abc import Callable

from services.chassis.mongodb.change_stream import ChangeStreamListener
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.notifier import Notifier
from services.webhooks import metrics
from services.webhooks.adapters.feed_store import FEEDS


class SiteNotifier(Notifier[int]):
    """Wakes the readers that wait for events of a site. Appending reports this replica's events."""

    def __init__(self, *, max_waiters: int) -> None:
        super().__init__(max_waiters=max_waiters, waiting=metrics.WAITERS, refused=metrics.WAITS_REFUSED)


class FeedChangeListener(ChangeStreamListener[int]):
    """Reports other replicas' events to the notifier: they raise the heads of the sites' feeds."""

    def __init__(
        self, mongo: Mongo, notifier: SiteNotifier, *, clock_s: Callable[[], float], always_open: bool = False
    ) -> None:
        super().__init__(
            mongo,
            FEEDS,
            notifier,
            to_key=int,
            opened=metrics.CHANGE_STREAMS_OPENED,
            clock_s=clock_s,
            always_open=always_open,
        )
