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
from services.ingest.domain.accepted import Accepted, Submission
from services.ingest.flows.offload import LARGE, aside
from services.ingest.ports import Publisher, RateLimiter, Replies
from services.jobs.events import JobHeader
from services.sales.batch import Batch
from services.sales.import_request import read_batch
from services.values.time_uuids import timestamp_us

_LOG = logger(__name__)

SCOPES = {"orders": "orders:write", "returns": "returns:write"}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything accepting may touch."""

    publisher: Publisher
    gate: RateLimiter
    replies: Replies
    currencies: AbstractSet[str]
    strict_json: bool
    now_us: Callable[[], int]
    new_job_id: Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Taken:
    """The request is on record; `left` is what the site may still send. With a `turn` the answer is to be kept."""

    accepted: Accepted
    left: Decision
    turn: Reservation | None


@dataclass(frozen=True, slots=True)
class Replayed:
    """The request was answered before, with this."""

    reply: StoredResponse


@dataclass(frozen=True, slots=True)
class Throttled:
    """The site's limit cannot pay for the records."""

    left: Decision


@dataclass(frozen=True, slots=True)
class LacksScope:
    """The records are of a kind that the token may not write."""

    scope: str


Outcome = Taken | Replayed | Throttled | LacksScope


class UnacknowledgedError(UnavailableError):
    """Kafka did not confirm the job: it is there whole, or in part of its records, or not at all."""

    def __init__(self, away: UnavailableError, job_id: str) -> None:
        super().__init__(away.dependency, retry_after_s=away.retry_after_s)
        self.job_id = job_id


async def accept(submission: Submission, world: World) -> Outcome:
    """Read the body, charge the site, open the job, publish it with its accepted records.

    Returns once all of it is acknowledged by all in-sync replicas, or at once with the reason why nothing was
    published. Raises `BodyRefused` for a body that cannot be used, `Problem` for an idempotency key that cannot, and
    `Unacknowledged` when Kafka did not confirm; sending the request again is safe then.
    """
    now_us = world.now_us()
    batch = await _read(submission, world, now_us)
    scope = SCOPES[batch.kind]
    if scope not in submission.scopes:
        return LacksScope(scope)
    turn = await _begin(submission, world, now_us)
    if isinstance(turn, StoredResponse):
        return Replayed(turn)
    left = await charge(submission.site.site, submission.records_per_second, world.gate, cost=batch.total)
    if not left.allowed:
        if turn is not None:
            await world.replies.forget(turn)
        return Throttled(left)
    if turn is None:
        accepted = _accepted(submission, batch, world.new_job_id(now_us), now_us)
    else:
        accepted = await _resume(submission, batch, world, turn)
    await _publish(accepted, world, turn)
    metrics.count(accepted.batch)
    return Taken(accepted, left, turn)


async def charge(site: int, records_per_second: int, gate: RateLimiter, *, cost: int) -> Decision:
    """Spend `cost` of the site's records; a cost of 0 asks whether anything is left."""
    return await gate.acquire(str(site), limit=records_per_second, cost=cost)


async def _read(submission: Submission, world: World, now_us: int) -> Batch:
    read = partial(
        read_batch,
        submission.body,
        target=submission.path,
        defaults=submission.site,
        now_us=now_us,
        currencies=world.currencies,
        strict_json=world.strict_json,
    )
    return read() if len(submission.body) <= LARGE else await aside(read)


async def _begin(submission: Submission, world: World, now_us: int) -> Reservation | StoredResponse | None:
    if submission.idempotency_key is None:
        return None
    return await world.replies.begin(submission, world.new_job_id(now_us))


async def _resume(submission: Submission, batch: Batch, world: World, turn: Reservation) -> Accepted:
    """The job of this turn. What an earlier attempt may have published is made again to the byte."""
    created_at = timestamp_us(turn.resource_id) or world.now_us()
    if turn.is_retry:
        batch = await _read(submission, world, created_at)
    return _accepted(submission, batch, turn.resource_id, created_at)


def _accepted(submission: Submission, batch: Batch, job_id: str, created_at: int) -> Accepted:
    header = JobHeader(
        site=submission.site.site,
        job_id=job_id,
        total=batch.total,
        created_at=created_at,
        mode=batch.mode,
        type=batch.kind,
    )
    return Accepted(header, batch, submission.traceparent)


async def _publish(accepted: Accepted, world: World, turn: Reservation | None) -> None:
    header = accepted.header
    bind(jobId=header.job_id)
    try:
        await world.publisher.publish(accepted)
        _LOG.debug("job accepted", site=header.site, total=header.total)
    except UnavailableError as away:
        _LOG.warning("nobody confirmed the job", site=header.site, total=header.total, away=away.dependency)
        if turn is not None:
            await world.replies.pause(turn)
        raise UnacknowledgedError(away, accepted.header.job_id) from away
