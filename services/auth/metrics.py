"""What auth counts."""

from services.chassis.runtime import metrics

ISSUED = metrics.counter("auth_tokens_issued_total", "Tokens issued.", ("audience",))
REFUSED = metrics.counter("auth_tokens_refused_total", "Token requests refused.", ("audience", "reason"))
HASHES = metrics.counter("auth_secret_hashes_total", "Hashes computed to check secrets; remembered ones cost none.")
HASH_SECONDS = metrics.histogram("auth_secret_check_seconds", "Time to check a secret, waiting included.", ("outcome",))
SIGNING_KEY_SINCE = metrics.gauge(
    "auth_signing_key_since_timestamp_seconds", "When the key that signs began to, Unix time."
)
SIGNING_KEY_DUE = metrics.gauge(
    "auth_signing_key_due_timestamp_seconds", "When another key must sign at the latest, Unix time."
)
PUBLISHED_KEYS = metrics.gauge("auth_published_keys", "Keys in the published key set.")
REVOKED = metrics.counter("auth_revocations_total", "Tokens and clients revoked.", ("kind",))
SITES_PUBLISHED = metrics.counter("auth_sites_published_total", "Site records published.")
