"""Metrics of auth."""

from services.chassis.runtime import metrics

TOKENS_ISSUED = metrics.counter("auth_tokens_issued_total", "Tokens issued.", ("audience",))
TOKENS_REFUSED = metrics.counter("auth_tokens_refused_total", "Token requests refused.", ("audience", "reason"))
SECRET_HASHES = metrics.counter(
    "auth_secret_hashes_total", "Hashes computed to verify secrets; cached secrets need none."
)
SECRET_CHECK_SECONDS = metrics.histogram(
    "auth_secret_check_seconds", "Time to verify a secret, including the wait for a slot.", ("outcome",)
)
SIGNING_KEY_SINCE = metrics.gauge(
    "auth_signing_key_since_timestamp_seconds", "Unix time since which the active key signs."
)
SIGNING_KEY_DUE = metrics.gauge(
    "auth_signing_key_due_timestamp_seconds", "Unix time by which the next key must replace the active one."
)
PUBLISHED_KEYS = metrics.gauge("auth_published_keys", "Keys in the published key set.")
REVOCATIONS = metrics.counter("auth_revocations_total", "Revocations of tokens and of clients.", ("kind",))
SITES_PUBLISHED = metrics.counter("auth_sites_published_total", "Site records published.")
