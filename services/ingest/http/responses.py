"""Responses of the import API: the accepted job, the site's quota, and problems."""

from functools import lru_cache
from time import monotonic
from typing import Any
from urllib.parse import quote

from aiohttp import web

from services.chassis.http import rate_limit
from services.chassis.http import responses as http
from services.chassis.http.idempotency import REPLAYED, StoredResponse
from services.chassis.http.rate_limit import Decision
from services.chassis.runtime.errors import BodyFault, ForbiddenError, Problem, UnavailableError
from services.ingest import metrics
from services.ingest.domain.body_budget import BudgetExceededError
from services.ingest.domain.import_job import AcceptedJob
from services.ingest.domain.inflate import MAX_BODY_BYTES, MAX_INFLATED_BYTES
from services.ingest.flows.accept import MissingScope, UnacknowledgedError
from services.ingest.flows.validate import Validated
from services.ingest.http.body import UnreadableBodyError
from services.sales.batch import MAX_RECORDS, InvalidBodyError, Note, NoteCode
from services.sales.dry_run import RecordVerdict, list_verdicts
from services.sales.records import RETURNS
from services.values.instants import MAX_INSTANT_US, format_utc

BASE = "/omnichannel/api/v1"
# Name of the policy in the RateLimit header fields.
QUOTA = "records"
# Outcomes, as the status API names them.
SUCCEEDED, FAILED = "succeeded", "failed"


def since_counted(quota: Decision) -> dict[str, str]:
    """Return how long ago the records were counted: a client that knows it can use the limit fully without a 429."""
    return {"Server-Timing": f"counted;dur={1000 * (monotonic() - quota.decided_at):.1f}"}


def accepted_response(job: AcceptedJob, *, status: int, api_key: str, user_id: str | None) -> web.Response:
    """Return the response to an accepted request."""
    headers, body = accepted_content(job, api_key=api_key, user_id=user_id)
    return http.json_response(body, status=status, headers=headers)


def accepted_content(job: AcceptedJob, *, api_key: str, user_id: str | None) -> tuple[dict[str, str], dict[str, Any]]:
    """Return headers and body of the response: the job, its keys in the documented order."""
    header, notes = job.header, job.batch.notes
    headers = {"Location": f"{_jobs_path(api_key)}/{header.job_id}/events"}
    body: dict[str, Any] = {
        "message": job.summary,
        "time": header.created_at // 1000,
        "jobId": header.job_id,
    }
    if notes:
        body["notes"] = [_note(note) for note in notes]
        if any(note.code == NoteCode.RETURN_ON_ORDERS_PATH for note in notes):
            headers["Link"] = _canonical_link(api_key, user_id)
    return headers, body


def validated_response(validated: Validated, *, api_key: str, user_id: str | None) -> web.Response:
    """Return the outcome that each record would have, its keys in the documented order."""
    job, verdicts = validated.job, validated.verdicts
    notes: dict[int | None, list[dict[str, Any]]] = {}
    for note in job.batch.notes:
        notes.setdefault(note.index, []).append({"code": note.code, "detail": note.detail})
    records = [
        {**_validated_record(record, job.header.type), "notes": notes.get(record.index, [])}
        for record in list_verdicts(job.batch, verdicts.faults)
    ]
    total, valid = len(records), sum(record["outcome"] == SUCCEEDED for record in records)
    as_of = verdicts.catalogue_as_of_ms
    body: dict[str, Any] = {
        "message": f"Total records = {total}. Success = {valid}. Failed = {total - valid}",
        "time": job.header.created_at // 1000,
        "catalogueAsOf": None if as_of is None else format_utc(min(as_of * 1000, MAX_INSTANT_US), digits=3),
        "records": records,
    }
    if None in notes:
        body["notes"] = notes[None]
    headers = {}
    if any(note.code == NoteCode.RETURN_ON_ORDERS_PATH for note in job.batch.notes):
        headers["Link"] = _canonical_link(api_key, user_id)
    return http.json_response(body, headers=headers)


def _validated_record(record: RecordVerdict, kind: str) -> dict[str, Any]:
    ids = {"orderId": record.order_id, "returnId": record.return_id} if kind == RETURNS else {"id": record.order_id}
    return {
        "index": record.index,
        **ids,
        "userId": record.user_id,
        "outcome": FAILED if record.faults else SUCCEEDED,
        "faults": [
            {"code": fault.code, "field": fault.field, "message": fault.message, "retryable": fault.retryable}
            for fault in record.faults
        ],
    }


@lru_cache(maxsize=1024)
def _jobs_path(api_key: str) -> str:
    return f"/common-status/v1/{quote(api_key, safe='')}/job"


def to_stored_response(response: web.Response) -> StoredResponse:
    """Convert the response to the form that is stored under its idempotency key."""
    headers = {name: response.headers[name] for name in ("Location", "Link") if name in response.headers}
    body = bytes(response.body or b"")  # type: ignore[arg-type]  # never a stream
    return StoredResponse(response.status, body, headers)


def replayed_response(stored: StoredResponse) -> web.Response:
    """Return the stored response of the first request with this idempotency key."""
    metrics.REPLAYED.inc()
    headers = {**stored.headers, **REPLAYED}
    return web.Response(
        body=stored.body, status=stored.status, headers=headers, content_type="application/json", charset="utf-8"
    )


def limits_body(quota: Decision) -> dict[str, int]:
    """Return the site's limits and its remaining quota."""
    return {
        "recordsPerSecond": quota.limit,
        "remaining": quota.remaining,
        "resetAfterSeconds": quota.reset_s,
        # A larger request would exceed the limit at any time.
        "recordsPerRequest": min(MAX_RECORDS, quota.limit),
        "bytesPerRequest": MAX_BODY_BYTES,
        "inflatedBytesPerRequest": MAX_INFLATED_BYTES,
    }


def rate_limited(quota: Decision) -> Problem:
    """429: the site has not enough quota left for the request."""
    metrics.RATE_LIMITED.inc()
    return rate_limit.rate_limited(quota, f"the site may send at most {quota.limit} records in any second")


def body_problem(refusal: MissingScope | InvalidBodyError | UnreadableBodyError) -> Problem:
    """Return the problem of a request that was refused because of its body."""
    match refusal:
        case MissingScope(scope):
            return ForbiddenError(f"the token lacks the scope {scope}")
        case UnreadableBodyError():
            return refusal.problem
        case InvalidBodyError(status=status, code=code, detail=detail, pointer=pointer):
            return Problem(status, code, detail, errors=[BodyFault(pointer, code, detail)])


RefusalError = BudgetExceededError | UnavailableError | Problem


def refusal(error: RefusalError) -> Problem:
    """Return the problem of a request that was refused without regard to its body."""
    match error:
        case BudgetExceededError():
            return _budget_exceeded(error)
        case UnavailableError():
            return _unavailable(error)
        case Problem():
            return error


def _budget_exceeded(error: BudgetExceededError) -> Problem:
    """429 or 503: the bodies in flight, of the client or of all, take too much memory."""
    status, code, who = (
        (429, "RATE_LIMITED", "this client") if error.is_clients else (503, "UNAVAILABLE", "all clients")
    )
    metrics.REFUSED.labels(code).inc()
    detail = f"the request bodies of {who} in flight take too much memory; try again"
    # The rest of the body is not awaited.
    return Problem(status, code, detail, headers={"Retry-After": "1", "Connection": "close"})


def _unavailable(error: UnavailableError) -> Problem:
    """503: a dependency is unavailable, or Kafka did not acknowledge the job."""
    if not isinstance(error, UnacknowledgedError):
        return http.unavailable_problem(error)
    return Problem(
        503,
        "BROKER_UNAVAILABLE",
        "the records were not acknowledged; the request can safely be sent again",
        headers={"Retry-After": str(error.retry_after_s)},
        extra={"jobId": error.job_id},
    )


def _note(note: Note) -> dict[str, Any]:
    index = {} if note.index is None else {"index": note.index}
    return {**index, "code": note.code, "detail": note.detail}


def _canonical_link(api_key: str, user_id: str | None) -> str:
    """Link to the path for returns, for a body of returns that was sent to the path for orders."""
    suffix = "" if user_id is None else f"/users/{quote(user_id, safe='')}"
    return f'<{BASE}/{quote(api_key, safe="")}/returns{suffix}>; rel="canonical"'
