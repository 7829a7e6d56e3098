"""Metrics of the ledger."""

from services.chassis.runtime import metrics

RECORDS = metrics.counter("ledger_records_total", "Orders and returns recorded, by type.", ("type",))
CHANGED = metrics.counter("ledger_groups_changed_total", "Orders whose entries have changed.")
CONFLICTS = metrics.counter("ledger_conflicts_total", "Transactions repeated because another one changed the same.")
VISIBLE_SECONDS = metrics.histogram(
    "ledger_visible_seconds", "From the acceptance of an order or return to its entry and sums being readable."
)
AS_OF_AGE = metrics.gauge("ledger_as_of_age_seconds", "Age of the instant up to which reports are complete.")
MOVEMENTS_PENDING = metrics.gauge(
    "ledger_movements_pending", "Transactions whose changes are not yet added to the sums or published.", ("step",)
)
OLDEST_MOVEMENT = metrics.gauge(
    "ledger_oldest_movement_seconds", "Age of the oldest change not yet added to the sums or published.", ("step",)
)
DIFFERING_SUMS = metrics.gauge(
    "ledger_differing_sums", "Sums that differed from the entries at the last audit; 0 unless something is wrong."
)
AUDITED_AT = metrics.gauge("ledger_audited_timestamp_seconds", "When the last audit ended; 0 before the first.")
ERASURES_PENDING = metrics.gauge("ledger_erasures_pending", "Erasures of users that have not ended.")
EXPIRED = metrics.counter("ledger_entries_expired_total", "Orders deleted by retention.")
RATE_LIMITED = metrics.counter("ledger_rate_limited_total", "Requests refused because their client sent too many.")
EXPORTED = metrics.counter("ledger_exported_rows_total", "Rows of exports, by format.", ("format",))
