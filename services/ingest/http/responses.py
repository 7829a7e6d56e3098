"""Replies of the import API: what a client is told of its job, its limits, or why there is no job."""

from typing import Any
from urllib.parse import quote

from aiohttp import web

from services.chassis.http import server as http
from services.chassis.http.idempotency import REPLAYED, StoredResponse
from services.chassis.http.ratelimit import Decision
from services.chassis.runtime.errors import BodyFault, ForbiddenError, Problem
from services.ingest import metrics
from services.ingest.domain.import_job import AcceptedJob
from services.ingest.domain.inflate import MAX_BODY_BYTES, MAX_INFLATED_BYTES
from services.ingest.flows.accept import UnacknowledgedError
from services.sales.batch import MAX_RECORDS, InvalidBodyError, Note, NoteCode

BASE = "/omnichannel/api/v1"


def accepted_response(job: AcceptedJob, *, status: int, api_key: str, user_id: str | None) -> web.Response:
    """The job, with its keys in the documents' order."""
    header, notes = job.header, job.batch.notes
    headers = {"Location": f"/common-status/v1/{quote(api_key, safe='')}/job/{header.job_id}/events"}
    body: dict[str, Any] = {
        "message": job.summary,
        "time": header.created_at // 1000,
        "jobId": header.job_id,
    }
    if notes:
        body["notes"] = [_note(note) for note in notes]
        if any(note.code == NoteCode.RETURN_ON_ORDERS_PATH for note in notes):
            headers["Link"] = _canonical(api_key, user_id)
    return http.json_response(body, status=status, headers=headers)


def to_stored_response(reply: web.Response) -> StoredResponse:
    """An answer as it is kept for whoever sends the same request again."""
    headers = {name: reply.headers[name] for name in ("Location", "Link") if name in reply.headers}
    return StoredResponse(reply.status, bytes(reply.body or b""), headers)  # type: ignore[arg-type]  # never a stream


def replayed_response(kept: StoredResponse) -> web.Response:
    """The first answer again."""
    metrics.REPLAYED.inc()
    headers = {**kept.headers, **REPLAYED}
    return web.Response(
        body=kept.body, status=kept.status, headers=headers, content_type="application/json", charset="utf-8"
    )


def limits_body(quota: Decision) -> dict[str, int]:
    """A client's limits and what is left of them."""
    return {
        "recordsPerSecond": quota.limit,
        "remaining": quota.remaining,
        "resetAfterSeconds": quota.reset_s,
        # More at once would be refused for ever.
        "recordsPerRequest": min(MAX_RECORDS, quota.limit),
        "bytesPerRequest": MAX_BODY_BYTES,
        "inflatedBytesPerRequest": MAX_INFLATED_BYTES,
    }


def quota_headers(quota: Decision) -> dict[str, str]:
    """What the site may send, as the IETF's RateLimit header fields have it (draft 10)."""
    return {
        "RateLimit-Policy": f'"records";q={quota.limit};w=1',
        "RateLimit": f'"records";r={quota.remaining};t={quota.reset_s}',
    }


def rate_limited(quota: Decision) -> Problem:
    """429: the site's limit cannot pay for the request."""
    metrics.RATE_LIMITED.inc()
    return Problem(
        429,
        "RATE_LIMITED",
        f"the site may send {quota.limit} records in any second",
        headers={"Retry-After": str(max(quota.retry_after_s, 1)), **quota_headers(quota)},
    )


def missing_scope(scope: str) -> Problem:
    """403: the token may not write records of this kind."""
    return ForbiddenError(f"the token lacks the scope {scope}")


def invalid_body(refused: InvalidBodyError) -> Problem:
    """400 or 413: the body as a whole cannot be imported."""
    where = BodyFault(refused.pointer, refused.code, refused.detail)
    return Problem(refused.status, refused.code, refused.detail, errors=[where])


def unconfirmed(unknown: UnacknowledgedError) -> Problem:
    """503: Kafka did not say that the job is there."""
    return Problem(
        503,
        "BROKER_UNAVAILABLE",
        "the records could not be confirmed; sending them again is safe",
        headers={"Retry-After": str(unknown.retry_after_s)},
        extra={"jobId": unknown.job_id},
    )


def _note(note: Note) -> dict[str, Any]:
    place = {} if note.index is None else {"index": note.index}
    return {**place, "code": note.code, "detail": note.detail}


def _canonical(api_key: str, user_id: str | None) -> str:
    """Where returns that came over an orders path belong."""
    suffix = "" if user_id is None else f"/users/{quote(user_id, safe='')}"
    return f'<{BASE}/{quote(api_key, safe="")}/returns{suffix}>; rel="canonical"'
