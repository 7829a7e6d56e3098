"""Fulfilment's metrics."""

from services.chassis.runtime import metrics

PLACED = metrics.counter("fulfilment_transactions_total", "Orders of codes, by outcome of the request.", ("outcome",))
UNITS_ENDED = metrics.counter("fulfilment_units_total", "Units delivered or cancelled.", ("outcome",))
ENDED = metrics.counter("fulfilment_transactions_ended_total", "Transactions by final status.", ("status",))
COMPLETED_SECONDS = metrics.histogram(
    "fulfilment_completed_seconds",
    "Time from an order of codes to its final status.",
    buckets=(0.05, 0.1, 0.5, 1, 5, 60, 3600, 86400),
)
PENDING = metrics.gauge("fulfilment_pending_transactions", "Transactions that wait for codes.")
OLDEST_PENDING = metrics.gauge(
    "fulfilment_oldest_pending_seconds", "Age of the oldest transaction that waits for codes."
)
INVOICES = metrics.counter("fulfilment_invoices_total", "Invoices and credit notes issued.", ("kind",))
OVERDUE = metrics.gauge(
    "fulfilment_overdue_purchase_orders", "Purchase orders that are not closed although their day is over."
)
DISCLOSED = metrics.counter("fulfilment_codes_disclosed_total", "Codes disclosed to their owners.")
RATE_LIMITED = metrics.counter("fulfilment_rate_limited_total", "Requests refused by a rate limit.", ("bucket",))
MAILS = metrics.counter("fulfilment_mails_total", "Invoices handed to the mail server.", ("outcome",))

# Every series exists from the first scrape: `rate()` does not see the first event of a new one.
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
