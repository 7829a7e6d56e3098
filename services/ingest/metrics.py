"""Metrics of ingest."""

from services.chassis.runtime import metrics
from services.sales.batch import Batch
from services.sales.faults import FaultCode
from services.sales.records import MODES, ORDERS, RETURNS

RECORDS = metrics.counter("ingest_records_total", "Records received.", ["kind", "mode", "outcome"])
BATCH_RECORDS = metrics.histogram("ingest_batch_records", "Records per request.", ["kind"], buckets=metrics.SIZES[:7])
WIRE_BYTES = metrics.histogram("ingest_wire_bytes", "Size of a request body as sent.", buckets=metrics.BYTES[:6])
RATE_LIMITED = metrics.counter("ingest_rate_limited_total", "Requests refused by the rate limit.")
REFUSED = metrics.counter("ingest_refused_total", "Requests refused because of their body.", ["code"])
BYTES_IN_FLIGHT = metrics.gauge(
    "ingest_bytes_in_flight", "Memory charged for request bodies that are being received, parsed or published."
)
REPLAYED = metrics.counter("ingest_replayed_total", "Responses replayed for an idempotency key.")
VALIDATED = metrics.counter(
    "ingest_validate_only_records_total", "Records validated without importing them.", ["kind", "outcome"]
)
FAULTS = metrics.counter("ingest_faults_total", "Faults of rejected records.", ["code"])
SHARED_BATCH_RECORDS = metrics.histogram(
    "ingest_shared_batch_records",
    "Records per batch of single records from different requests.",
    buckets=metrics.SIZES[:9],
)

_KINDS = (ORDERS, RETURNS)
_SIZES = {kind: BATCH_RECORDS.labels(kind) for kind in _KINDS}
_ACCEPTED = {(kind, mode): RECORDS.labels(kind, mode, "accepted") for kind in _KINDS for mode in MODES}
_REJECTED = {(kind, mode): RECORDS.labels(kind, mode, "rejected") for kind in _KINDS for mode in MODES}
# Exported from the start: `increase()` does not see the first increment of a series that appears with it.
for _refusal in ("RATE_LIMITED", "UNAVAILABLE"):
    REFUSED.labels(_refusal)
for _code in FaultCode:
    FAULTS.labels(_code.value)
for _kind in _KINDS:
    for _outcome in ("succeeded", "failed"):
        VALIDATED.labels(_kind, _outcome)


def count_validated(kind: str, *, total: int, valid: int) -> None:
    """Count the records of a request with `validateOnly`."""
    VALIDATED.labels(kind, "succeeded").inc(valid)
    VALIDATED.labels(kind, "failed").inc(total - valid)


def count_records(batch: Batch) -> None:
    """Count the records of a published job."""
    labels = (batch.kind, batch.mode)
    _SIZES[batch.kind].observe(batch.total)
    _ACCEPTED[labels].inc(len(batch.accepted))
    if batch.rejected:
        _REJECTED[labels].inc(len(batch.rejected))
        for fault in (fault for record in batch.rejected for fault in record.faults):
            FAULTS.labels(fault.code).inc()
