"""Metrics of status."""

from services.chassis.runtime import metrics

EVENTS = metrics.counter("status_events_total", "Job events consumed, by fact.", ("fact",))
JOBS_ENDED = metrics.counter("status_jobs_ended_total", "Jobs that ended, by final state.", ("state",))
JOBS_OPEN = metrics.gauge("status_open_jobs", "Jobs that have not ended, by state.", ("state",))
END_TO_END = metrics.histogram("status_visible_seconds", "From a job's creation to its end being visible.")
MERGES = metrics.counter("status_merges_total", "Jobs that had to be read before they could be written.")
WAITERS = metrics.gauge("status_waiters", "Requests that wait for a job.")
WAITS_REFUSED = metrics.counter("status_waits_refused_total", "Waits cut short because too many requests wait.")
RATE_LIMITED = metrics.counter("status_rate_limited_total", "Requests refused because their client sent too many.")
EXPIRED = metrics.counter("status_jobs_expired_total", "Jobs whose deadline passed.")
CHANGE_STREAMS_OPENED = metrics.counter(
    "status_change_streams_opened_total", "Change streams opened because a request waits."
)
