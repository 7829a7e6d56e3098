"""Wakes requests that wait for a job as soon as this replica or another one writes it."""

from collections.abc import Callable

from services.chassis.mongodb.change_stream import ChangeStreamListener
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.notifier import Notifier
from services.jobs.events import JobKey
from services.status import metrics
from services.status.adapters.job_documents import key_from
from services.status.adapters.job_store import JOBS


class JobNotifier(Notifier[JobKey]):
    """Wakes the requests that wait for a job. `apply_events` reports this replica's writes."""

    def __init__(self, *, max_waiters: int) -> None:
        super().__init__(max_waiters=max_waiters, waiting=metrics.WAITERS, refused=metrics.WAITS_REFUSED)


class JobChangeListener(ChangeStreamListener[JobKey]):
    """Reports other replicas' writes of jobs to the notifier."""

    def __init__(self, mongo: Mongo, notifier: JobNotifier, *, clock_s: Callable[[], float]) -> None:
        super().__init__(mongo, JOBS, notifier, to_key=key_from, opened=metrics.CHANGE_STREAMS_OPENED, clock_s=clock_s)
