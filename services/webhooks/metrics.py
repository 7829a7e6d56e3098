"""Metrics of webhooks."""

from services.chassis.runtime import metrics

RECORDED = metrics.counter("webhooks_events_recorded_total", "Events recorded in feeds, by type.", ("type",))
REPEATED = metrics.counter("webhooks_events_repeated_total", "Events that were in the feed already.")
CONFLICTS = metrics.counter(
    "webhooks_append_conflicts_total", "Appends repeated because another process had appended to the same feed."
)
RECORD_SECONDS = metrics.histogram(
    "webhooks_record_seconds", "From when something happened until its event is in the feed."
)
WAITERS = metrics.gauge("webhooks_waiters", "Readers that wait for events.")
WAITS_REFUSED = metrics.counter("webhooks_waits_refused_total", "Waits refused because too many readers wait.")
RATE_LIMITED = metrics.counter("webhooks_rate_limited_total", "Requests refused because their client sent too many.")
CHANGE_STREAMS_OPENED = metrics.counter(
    "webhooks_change_streams_opened_total", "Change streams opened because a reader waits."
)
