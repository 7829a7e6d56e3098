"""What ingest counts."""

from services.chassis.runtime import metrics
from services.sales.batch import Batch
from services.sales.faults import FaultCode
from services.sales.records import MODES, ORDERS, RETURNS

RECORDS = metrics.counter("ingest_records_total", "Records received.", ["kind", "mode", "outcome"])
BATCH_RECORDS = metrics.histogram("ingest_batch_records", "Records in a request.", ["kind"], buckets=metrics.SIZES[:7])
WIRE_BYTES = metrics.histogram("ingest_wire_bytes", "Size of a body as it was sent.", buckets=metrics.BYTES[:6])
RATE_LIMITED = metrics.counter("ingest_rate_limited_total", "Requests refused by the rate limit.")
REFUSED = metrics.counter("ingest_refused_total", "Requests whose body could not be used.", ["code"])

REPLAYED = metrics.counter("ingest_replayed_total", "Requests answered with a first answer that was kept.")
FAULTS = metrics.counter("ingest_faults_total", "Faults of records that were refused at intake.", ["code"])
SHARED_BATCH_RECORDS = metrics.histogram(
    "ingest_shared_batch_records",
    "Single records of different requests that travelled in one batch.",
    buckets=metrics.SIZES[:9],
)

_KINDS = (ORDERS, RETURNS)
_SIZES = {kind: BATCH_RECORDS.labels(kind) for kind in _KINDS}
_ACCEPTED = {(kind, mode): RECORDS.labels(kind, mode, "accepted") for kind in _KINDS for mode in MODES}
_REFUSED = {(kind, mode): RECORDS.labels(kind, mode, "refused") for kind in _KINDS for mode in MODES}
# There from the first scrape on: a counter that appears with its first event seems not to have grown.
for _code in FaultCode:
    FAULTS.labels(_code.value)


def count_records(batch: Batch) -> None:
    """Count the records of a request that is on record."""
    what = (batch.kind, batch.mode)
    _SIZES[batch.kind].observe(batch.total)
    _ACCEPTED[what].inc(len(batch.accepted))
    if batch.rejected:
        _REFUSED[what].inc(len(batch.rejected))
        for fault in (fault for refusal in batch.rejected for fault in refusal.faults):
            FAULTS.labels(fault.code).inc()
