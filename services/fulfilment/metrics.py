"""What fulfilment measures."""

from services.chassis.runtime import metrics

PLACED = metrics.counter(
    "fulfilment_transactions_total", "Orders of codes, by what became of the request.", ("outcome",)
)
UNITS_ENDED = metrics.counter("fulfilment_units_total", "Units that reached their end, by how.", ("outcome",))
ENDED = metrics.counter("fulfilment_transactions_ended_total", "Transactions that reached their end.", ("status",))
COMPLETED_SECONDS = metrics.histogram(
    "fulfilment_completed_seconds",
    "From an order of codes to its end.",
    buckets=(0.05, 0.1, 0.5, 1, 5, 60, 3600, 86400),
)
PENDING = metrics.gauge("fulfilment_pending_transactions", "Transactions that wait for codes.")
OLDEST_PENDING = metrics.gauge(
    "fulfilment_oldest_pending_seconds", "Age of the oldest transaction that waits for codes."
)
INVOICES = metrics.counter("fulfilment_invoices_total", "Invoices and credit notes issued.", ("kind",))
UNCLOSED = metrics.gauge(
    "fulfilment_overdue_purchase_orders", "Purchase orders whose day is over and that are not closed."
)
DISCLOSED = metrics.counter("fulfilment_codes_disclosed_total", "Codes shown to their owners.")
RATE_LIMITED = metrics.counter("fulfilment_rate_limited_total", "Requests refused by a rate limit.", ("bucket",))
MAILS = metrics.counter("fulfilment_mails_total", "Invoices handed to the mail server.", ("outcome",))

# There from the first scrape on: a counter that appears with its first event seems not to have grown.
for _counter, _values in (
    (PLACED, ("accepted", "conflict", "duplicate", "refused")),
    (UNITS_ENDED, ("delivered", "cancelled")),
    (ENDED, ("COMPLETED", "PARTIALLY_COMPLETED", "CANCELLED")),
    (INVOICES, ("INVOICE", "CREDIT_NOTE")),
    (RATE_LIMITED, ("orders", "reads")),
    (MAILS, ("sent", "refused")),
):
    for _value in _values:
        _counter.labels(_value)
