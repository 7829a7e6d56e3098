"""Accepts an import request: from its body to a durable job."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial

from services.chassis.http.idempotency import Reservation, StoredResponse
from services.chassis.http.rate_limit import Decision
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import bind, logger, logs_debug
from services.ingest import metrics
from services.ingest.domain.import_job import AcceptedJob, ImportRequest
from services.ingest.flows.offload import OFFLOAD_THRESHOLD_BYTES, run_in_thread
from services.ingest.ports import IdempotencyStore, Judge, Publisher, RateLimiter
from services.jobs.events import JobHeader, JobKey
from services.sales.batch import MAX_RECORDS, Batch
from services.sales.import_request import read_batch
from services.values.time_uuids import timestamp_us

_LOG = logger(__name__)

SCOPES = {"orders": "orders:write", "returns": "returns:write"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that accepting a request depends on."""

    publisher: Publisher
    rate_limiter: RateLimiter
    idempotency: IdempotencyStore
    judge: Judge
    currencies: AbstractSet[str]
    strict_json: bool
    now_us: Callable[[], int]
    new_job_id: Callable[[int], str]


@dataclass(frozen=True, slots=True)
class JobAccepted:
    """The job is durable; `quota` is what the site has left. The response must be stored under the `reservation`."""

    job: AcceptedJob
    quota: Decision
    reservation: Reservation | None


@dataclass(frozen=True, slots=True)
class ReplayedResponse:
    """The idempotency key has been used for the same request before; `response` is its response."""

    response: StoredResponse


@dataclass(frozen=True, slots=True)
class RateLimited:
    """The request has more records than the site has left."""

    quota: Decision


@dataclass(frozen=True, slots=True)
class MissingScope:
    """The token lacks the scope for this kind of record."""

    scope: str


Outcome = JobAccepted | ReplayedResponse | RateLimited | MissingScope


class UnacknowledgedError(UnavailableError):
    """Kafka did not acknowledge the job: all of it, some of its records, or nothing may have been published."""

    def __init__(self, cause: UnavailableError, job_id: str) -> None:
        super().__init__(cause.dependency, retry_after_s=cause.retry_after_s)
        self.job_id = job_id


async def accept(request: ImportRequest, deps: Deps) -> Outcome:
    """Parse the body, charge the site, publish the job's opened event and the accepted records.

    Returns once all in-sync replicas have acknowledged everything, or without publishing anything if the request
    cannot be accepted. Raises `InvalidBodyError` for an invalid body, `Problem` for an unusable idempotency key, and
    `UnacknowledgedError` if Kafka did not acknowledge; the client can safely send the same request again.
    """
    now_us = deps.now_us()
    batch = await read_records(request, deps, now_us)
    scope = SCOPES[batch.kind]
    if scope not in request.scopes:
        return MissingScope(scope)
    reservation = await _reserve(request, deps, now_us)
    if isinstance(reservation, StoredResponse):
        return ReplayedResponse(reservation)
    site = str(request.site.site)
    quota = await deps.rate_limiter.acquire(site, limit=request.records_per_second, cost=batch.total)
    if not quota.allowed:
        if reservation is not None:
            await deps.idempotency.discard(reservation)
        return RateLimited(quota)
    if reservation is None:
        job = build_job(request, batch, deps.new_job_id(now_us), now_us)
    else:
        job = await _build_reserved_job(request, batch, deps, reservation)
    await _publish(job, deps, reservation)
    metrics.count_records(job.batch)
    return JobAccepted(job, quota, reservation)


async def read_records(request: ImportRequest, deps: Deps, now_us: int) -> Batch:
    """Parse the body; raises `InvalidBodyError`."""
    read = partial(
        read_batch,
        request.body,
        target=request.target,
        defaults=request.site,
        now_us=now_us,
        currencies=deps.currencies,
        # More would exceed the site's limit at any time.
        max_records=min(MAX_RECORDS, request.records_per_second),
        strict_json=deps.strict_json,
    )
    return read() if len(request.body) <= OFFLOAD_THRESHOLD_BYTES else await run_in_thread(read)


async def _reserve(request: ImportRequest, deps: Deps, now_us: int) -> Reservation | StoredResponse | None:
    if request.idempotency_key is None:
        return None
    return await deps.idempotency.reserve(request, deps.new_job_id(now_us))


async def _build_reserved_job(
    request: ImportRequest, batch: Batch, deps: Deps, reservation: Reservation
) -> AcceptedJob:
    created_at = timestamp_us(reservation.resource_id) or deps.now_us()
    if reservation.is_retry:
        # An earlier attempt may have published the job: parsed as of the same time, its bytes are the same.
        batch = await read_records(request, deps, created_at)
    return build_job(request, batch, reservation.resource_id, created_at)


def build_job(request: ImportRequest, batch: Batch, job_id: str, created_at: int) -> AcceptedJob:
    """Return the job of the parsed records."""
    header = JobHeader(
        JobKey(request.site.site, job_id),
        total=batch.total,
        created_at=created_at,
        mode=batch.mode,
        type=batch.kind,
    )
    return AcceptedJob(header, batch, request.traceparent, request.is_ascii)


async def _publish(job: AcceptedJob, deps: Deps, reservation: Reservation | None) -> None:
    header = job.header
    bind(jobId=header.job_id)
    try:
        await deps.publisher.publish(job)
    except UnavailableError as error:
        unacknowledged = report_unacknowledged(error, job)
        if reservation is not None:
            await deps.idempotency.release_for_retry(reservation)
        # The traceback refers to frames that refer to the error, and the cycle would keep the job.
        raise unacknowledged from error.with_traceback(None)
    if logs_debug():
        report_accepted(job)


def report_accepted(job: AcceptedJob) -> None:
    """Log that the job is durable; to be asked for only while debugging."""
    _LOG.debug("job accepted", site=job.header.site, total=job.header.total)


def report_unacknowledged(error: UnavailableError, job: AcceptedJob) -> UnacknowledgedError:
    """Log that the job's outcome is unknown, and return the error that says so."""
    header = job.header
    _LOG.warning("publish not acknowledged", site=header.site, total=header.total, dependency=error.dependency)
    return UnacknowledgedError(error, header.job_id)
