"""Accepts the common request of one record without a task: all that `accept` waits for is the acknowledgement."""

from collections.abc import Callable
from functools import partial

from services.chassis.http.rate_limit import Decision
from services.ingest import metrics
from services.ingest.domain.import_job import AcceptedJob, ImportRequest
from services.ingest.flows.accept import Deps, build_job
from services.sales.import_request import read_common_record

OnSettled = Callable[[AcceptedJob, Decision, Exception | None], None]


def accept_nowait(request: ImportRequest, deps: Deps, on_settled: OnSettled) -> bool:
    """Do what `accept` does, if it surely would publish a job of one record, and that without waiting before.

    Later `on_settled` is called with the job, the site's quota and the error, if Kafka did not acknowledge. Returns
    False, without any effect, if the request must go through `accept`. It must have no idempotency key, and the scope
    for its records.
    """
    if not deps.publisher.can_publish_nowait:
        return False
    now_us = deps.now_us()
    batch = read_common_record(
        request.body, target=request.target, defaults=request.site, now_us=now_us, currencies=deps.currencies
    )
    if batch is None:
        return False
    quota = deps.rate_limiter.acquire_nowait(str(request.site.site), limit=request.records_per_second)
    if quota is None:
        return False
    job = build_job(request, batch, deps.new_job_id(now_us), now_us)
    deps.publisher.publish_nowait(job, partial(_settle, job, quota, on_settled))
    return True


def _settle(job: AcceptedJob, quota: Decision, on_settled: OnSettled, error: Exception | None) -> None:
    if error is None:
        metrics.count_records(job.batch)
    on_settled(job, quota, error)
