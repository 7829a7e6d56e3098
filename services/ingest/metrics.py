"""What ingest counts."""

from services.chassis import metrics

RECORDS = metrics.counter("ingest_records_total", "Records received.", ["kind", "mode", "outcome"])
BATCH_RECORDS = metrics.histogram("ingest_batch_records", "Records in a request.", ["kind"], buckets=metrics.SIZES[:7])
WIRE_BYTES = metrics.histogram("ingest_wire_bytes", "Size of a body as it was sent.", buckets=metrics.BYTES[:6])
RATE_LIMITED = metrics.counter("ingest_rate_limited_total", "Requests refused by the rate limit.")
REFUSED = metrics.counter("ingest_refused_total", "Requests whose body could not be used.", ["code"])
