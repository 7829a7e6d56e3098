"""From a request's body to a job that nothing can lose."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from services.chassis.errors import Away
from services.chassis.ratelimit import Decision
from services.ingest import metrics
from services.ingest.domain.accepted import Accepted, Submission
from services.ingest.ports import Gate, Publisher
from services.sales.batch import Batch
from services.sales.reading import read_batch
from services.sales.records import JobHeader


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything accepting may touch."""

    publisher: Publisher
    gate: Gate
    currencies: AbstractSet[str]
    strict_json: bool
    now_us: Callable[[], int]
    new_job_id: Callable[[int], str]


class Unacknowledged(Away):
    """Kafka did not confirm the job: it is there whole, or in part of its records, or not at all."""

    def __init__(self, away: Away, job_id: str) -> None:
        super().__init__(away.what, retry_after_s=away.retry_after_s)
        self.job_id = job_id


async def accept(submission: Submission, world: World) -> Accepted | Decision:
    """Read the body, charge the site, open the job, publish it with its accepted records.

    Returns once all of it is acknowledged by all in-sync replicas, or at once with the gate's refusal. Raises
    `BodyRefused` for a body that cannot be used, and `Unacknowledged` when Kafka did not confirm; sending the request
    again is safe then.
    """
    batch = _read(submission, world)
    decision = world.gate.take(str(submission.site.site), limit=submission.records_per_second, cost=batch.total)
    if not decision.allowed:
        return decision
    accepted = _open(submission, batch, world)
    await _publish(accepted, world)
    _count(accepted)
    return accepted


def _read(submission: Submission, world: World) -> Batch:
    return read_batch(
        submission.body,
        path=submission.path,
        site=submission.site,
        now_us=world.now_us(),
        currencies=world.currencies,
        strict_json=world.strict_json,
    )


def _open(submission: Submission, batch: Batch, world: World) -> Accepted:
    created_at = world.now_us()
    header = JobHeader(
        site=submission.site.site,
        job_id=world.new_job_id(created_at),
        total=batch.total,
        created_at=created_at,
        mode=batch.mode,
        type=batch.kind,
    )
    return Accepted(header, batch, submission.traceparent)


async def _publish(accepted: Accepted, world: World) -> None:
    try:
        await world.publisher.publish(accepted)
    except Away as away:
        raise Unacknowledged(away, accepted.header.job_id) from away


def _count(accepted: Accepted) -> None:
    batch = accepted.batch
    metrics.BATCH_RECORDS.labels(batch.kind).observe(batch.total)
    metrics.RECORDS.labels(batch.kind, batch.mode, "accepted").inc(len(batch.good))
    if batch.refused:
        metrics.RECORDS.labels(batch.kind, batch.mode, "refused").inc(len(batch.refused))
