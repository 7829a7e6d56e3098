"""Metrics of the portal."""

from services.chassis.runtime import metrics

SIGN_INS = metrics.counter("portal_sign_ins_total", "Sign-ins by outcome.", ("outcome",))
SESSIONS_ENDED = metrics.counter("portal_sessions_ended_total", "Sessions that ended, by reason.", ("reason",))
FORGED = metrics.counter("portal_forged_requests_total", "Requests refused because another site may have sent them.")
API_ERRORS = metrics.counter(
    "portal_api_errors_total", "Pages that could not be shown because an API failed, by class of error.", ("error",)
)
LIVE_STREAMS = metrics.gauge("portal_live_streams", "Browsers that follow live changes.")
LIVE_STREAMS_REFUSED = metrics.counter(
    "portal_live_streams_refused_total", "Browsers that could not follow live changes because too many did."
)
CHANGE_STREAMS_OPENED = metrics.counter(
    "portal_change_streams_opened_total", "Change streams of sessions that were opened."
)
LIVE_FOLLOWERS = metrics.gauge("portal_live_followers", "Sites whose feed is followed for them.")

# Counters that appear with their first event would show no increase.
_REFUSALS = ("wrong", "throttled", "no_rights", "stale", "denied", "unverified", "unmapped", "not_accepted")
for _outcome in ("signed_in", *_REFUSALS):
    SIGN_INS.labels(_outcome)
for _reason in ("signed_out", "expired", "revoked", "replaced"):
    SESSIONS_ENDED.labels(_reason)
for _error in ("UnavailableError", "UnreachableError", "UnexpectedResponseError"):
    API_ERRORS.labels(_error)
