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
TRIES = metrics.counter(
    "webhooks_tries_total",
    "Requests to endpoints, by class of the status or by the reason why there is none.",
    ("outcome",),
)
TRY_SECONDS = metrics.histogram("webhooks_try_seconds", "Duration of a request to an endpoint.")
FIRST_TRY_SECONDS = metrics.histogram(
    "webhooks_first_try_seconds", "From when an event was recorded until it is first sent to an endpoint."
)
ENDPOINTS = metrics.gauge("webhooks_endpoints", "Endpoints, by state.", ("state",))
SENDERS = metrics.gauge("webhooks_senders", "Endpoints that this process sends to.")
OPEN_CIRCUITS = metrics.gauge(
    "webhooks_open_circuits", "Endpoints of this process that keep failing and are asked seldom."
)
DISABLED = metrics.counter("webhooks_endpoints_disabled_total", "Endpoints that were disabled, by reason.", ("reason",))
MAILS = metrics.counter("webhooks_mails_total", "Mails about disabled endpoints, by result.", ("result",))

# Created now: to Prometheus, a counter that appears with its first event has not increased.
for _outcome in (
    "2xx",
    "3xx",
    "4xx",
    "5xx",
    "timeout",
    "refused",
    "dns",
    "connect",
    "proxy",
    "tls",
    "protocol",
    "error",
):
    TRIES.labels(_outcome)
