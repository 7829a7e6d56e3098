"""Job events as bytes, encoded by an Avro library."""

import io
from typing import Any

from fastavro import schemaless_writer

from services.chassis.avro.schemas import Schemas
from services.chassis.runtime.settings import REPOSITORY
from services.jobs.events import Failure, JobEvent, Judged, Opened, OutcomeRun

SCHEMAS = Schemas.load(REPOSITORY / "schemas")
SCHEMA = SCHEMAS["job_event"]


def encode(event: JobEvent) -> bytes:
    """The event as ingest and the validator publish it."""
    out = io.BytesIO()
    out.write(SCHEMA.prefix)
    schemaless_writer(out, SCHEMA.plain, to_avro(event))
    return out.getvalue()


def to_avro(event: JobEvent) -> dict[str, Any]:
    """The event as the library's plain values, by the schema's names."""
    header, fact = event.header, event.fact
    content: dict[str, Any] = {}
    if isinstance(fact, Opened):
        content = {"refused": None if fact.refused is None else _run(fact.refused)}
    elif isinstance(fact, Judged):
        content = {"run": _run(fact.run)}
    return {
        "site": header.site,
        "jobId": header.job_id,
        "total": header.total,
        "createdAt": header.created_at,
        "mode": header.mode,
        "type": header.type,
        "at": event.at,
        "fact": (f"tillstream.{type(fact).__name__}", content),
    }


def _run(run: OutcomeRun) -> dict[str, Any]:
    return {
        "first": run.first,
        "outcomes": run.outcomes,
        "rows": run.rows,
        "failures": [_failure(failure) for failure in run.failures],
    }


def _failure(failure: Failure) -> dict[str, Any]:
    return {
        "index": failure.index,
        "orderId": failure.order_id,
        "returnId": failure.return_id,
        "mode": failure.mode,
        "faults": [
            {
                "code": f.code,
                "field": f.field,
                "message": f.message,
                "level": f.level,
                "productId": f.product_id,
                "retryable": f.retryable,
            }
            for f in failure.faults
        ],
        "record": failure.record,
    }
