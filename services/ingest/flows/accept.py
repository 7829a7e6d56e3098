"""From a request's body to a job that nothing can lose."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial

from services.chassis.http.idempotency import Reservation, StoredResponse
from services.chassis.http.ratelimit import Decision
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import bind, logger
from services.ingest import metrics
from services.ingest.domain.import_job import AcceptedJob, ImportRequest
from services.ingest.flows.offload import OFFLOAD_THRESHOLD_BYTES, run_in_thread
from services.ingest.ports import IdempotencyStore, Publisher, RateLimiter
from services.jobs.events import JobHeader
from services.sales.batch import Batch
from services.sales.import_request import read_batch
from services.values.time_uuids import timestamp_us

_LOG = logger(__name__)

SCOPES = {"orders": "orders:write", "returns": "returns:write"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything accepting may touch."""

    publisher: Publisher
    rate_limiter: RateLimiter
    idempotency: IdempotencyStore
    currencies: AbstractSet[str]
    strict_json: bool
    now_us: Callable[[], int]
    new_job_id: Callable[[int], str]


@dataclass(frozen=True, slots=True)
class JobAccepted:
    """The request is on record; `left` is what the site may still send. With a `turn` the answer is to be kept."""

    job: AcceptedJob
    quota: Decision
    reservation: Reservation | None


@dataclass(frozen=True, slots=True)
class ReplayedResponse:
    """The request was answered before, with this."""

    response: StoredResponse


@dataclass(frozen=True, slots=True)
class RateLimited:
    """The site's limit cannot pay for the records."""

    quota: Decision


@dataclass(frozen=True, slots=True)
class MissingScope:
    """The records are of a kind that the token may not write."""

    scope: str


Outcome = JobAccepted | ReplayedResponse | RateLimited | MissingScope


class UnacknowledgedError(UnavailableError):
    """Kafka did not confirm the job: it is there whole, or in part of its records, or not at all."""

    def __init__(self, cause: UnavailableError, job_id: str) -> None:
        super().__init__(cause.dependency, retry_after_s=cause.retry_after_s)
        self.job_id = job_id


async def accept(request: ImportRequest, deps: Deps) -> Outcome:
    """Read the body, charge the site, open the job, publish it with its accepted records.

    Returns once all of it is acknowledged by all in-sync replicas, or at once with the reason why nothing was
    published. Raises `BodyRefused` for a body that cannot be used, `Problem` for an idempotency key that cannot, and
    `Unacknowledged` when Kafka did not confirm; sending the request again is safe then.
    """
    now_us = deps.now_us()
    batch = await _read_batch(request, deps, now_us)
    scope = SCOPES[batch.kind]
    if scope not in request.scopes:
        return MissingScope(scope)
    reservation = await _reserve(request, deps, now_us)
    if isinstance(reservation, StoredResponse):
        return ReplayedResponse(reservation)
    quota = await charge(request.site.site, request.records_per_second, deps.rate_limiter, cost=batch.total)
    if not quota.allowed:
        if reservation is not None:
            await deps.idempotency.discard(reservation)
        return RateLimited(quota)
    if reservation is None:
        accepted = _build_job(request, batch, deps.new_job_id(now_us), now_us)
    else:
        accepted = await _resume(request, batch, deps, reservation)
    await _publish(accepted, deps, reservation)
    metrics.count_records(accepted.batch)
    return JobAccepted(accepted, quota, reservation)


async def charge(site: int, records_per_second: int, rate_limiter: RateLimiter, *, cost: int) -> Decision:
    """Spend `cost` of the site's records; a cost of 0 asks whether anything is left."""
    return await rate_limiter.acquire(str(site), limit=records_per_second, cost=cost)


async def _read_batch(request: ImportRequest, deps: Deps, now_us: int) -> Batch:
    read = partial(
        read_batch,
        request.body,
        target=request.target,
        defaults=request.site,
        now_us=now_us,
        currencies=deps.currencies,
        strict_json=deps.strict_json,
    )
    return read() if len(request.body) <= OFFLOAD_THRESHOLD_BYTES else await run_in_thread(read)


async def _reserve(submission: ImportRequest, world: Deps, now_us: int) -> Reservation | StoredResponse | None:
    if submission.idempotency_key is None:
        return None
    return await world.idempotency.reserve(submission, world.new_job_id(now_us))


async def _resume(submission: ImportRequest, batch: Batch, world: Deps, turn: Reservation) -> AcceptedJob:
    """The job of this turn. What an earlier attempt may have published is made again to the byte."""
    created_at = timestamp_us(turn.resource_id) or world.now_us()
    if turn.is_retry:
        batch = await _read_batch(submission, world, created_at)
    return _build_job(submission, batch, turn.resource_id, created_at)


def _build_job(submission: ImportRequest, batch: Batch, job_id: str, created_at: int) -> AcceptedJob:
    header = JobHeader(
        site=submission.site.site,
        job_id=job_id,
        total=batch.total,
        created_at=created_at,
        mode=batch.mode,
        type=batch.kind,
    )
    return AcceptedJob(header, batch, submission.traceparent)


async def _publish(accepted: AcceptedJob, world: Deps, turn: Reservation | None) -> None:
    header = accepted.header
    bind(jobId=header.job_id)
    try:
        await world.publisher.publish(accepted)
        _LOG.debug("job accepted", site=header.site, total=header.total)
    except UnavailableError as away:
        _LOG.warning("nobody confirmed the job", site=header.site, total=header.total, away=away.dependency)
        if turn is not None:
            await world.idempotency.release_for_retry(turn)
        raise UnacknowledgedError(away, accepted.header.job_id) from away
