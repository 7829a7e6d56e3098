"""Responses: bodies assembled from texts that are JSON already, and entity tags."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from services.chassis.runtime.errors import Problem
from services.status.domain.job import Job

JSON = "application/json"
NDJSON = "application/x-ndjson"

_encode = msgspec.json.Encoder().encode


def build_body(members: Mapping[str, Any], fragments: Sequence[str]) -> bytes:
    """A JSON object of these members and, last, `result` with the fragments as its elements."""
    head = b"".join(_encode(name) + b":" + _encode(value) + b"," for name, value in members.items())
    parts = [fragment.encode() for fragment in fragments] or [b""]
    # A page may have megabytes: they are copied once.
    parts[0] = b"".join((b"{", head, b'"result":[', parts[0]))
    parts[-1] += b"]}"
    return b",".join(parts)


def events_etag(job: Job) -> str:
    """The entity tag of a job's summary and events."""
    return f'"{job.shown_version}.{job.last_us:x}"'


def records_etag(job: Job, *, lines: bool) -> str:
    """The entity tag of a job's records, which late outcomes still change."""
    return f'"{job.version}.{job.last_us:x}{".lines" if lines else ""}"'


def json_response(
    body: bytes,
    *,
    etag: str | None = None,
    content_type: str = JSON,
    headers: Mapping[str, str] | None = None,
    build: Callable[..., web.Response] = web.Response,
) -> web.Response:
    """200 with the body; `build` is called like `web.Response`."""
    all_headers = {"Cache-Control": "private, no-cache", **(headers or {})}
    if etag is not None:
        all_headers["ETag"] = etag
    return build(body=body, headers=all_headers, content_type=content_type, charset="utf-8")


def raise_if_not_modified(request: web.Request, etag: str, headers: Mapping[str, str]) -> None:
    """Raise a 304 if the client has this version already."""
    header = ",".join(request.headers.getall("If-None-Match", ()))
    known = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    if etag in known or "*" in known:
        raise web.HTTPNotModified(headers={"ETag": etag, "Cache-Control": "private, no-cache", **headers})


def job_not_found(*, is_recent: bool = False) -> Problem:
    """404 for a job id that is unknown, malformed or another site's: they cannot be told apart."""
    headers = {"Retry-After": "1"} if is_recent else None
    return Problem(404, "JOB_NOT_FOUND", "there is no such job", headers=headers)
