"""Validates an import request without importing anything: the same checks, the catalogue's included."""

from dataclasses import dataclass

from services.chassis.http.rate_limit import Decision
from services.ingest import metrics
from services.ingest.domain.import_job import AcceptedJob, ImportRequest
from services.ingest.flows.accept import SCOPES, Deps, MissingScope, RateLimited, build_job, read_records
from services.sales.dry_run import VerdictResponse


@dataclass(frozen=True, slots=True)
class Validated:
    """What importing would have done. The `job` is not published; `verdicts` are on its accepted records, in order."""

    job: AcceptedJob
    verdicts: VerdictResponse
    quota: Decision


async def validate(request: ImportRequest, deps: Deps, *, quota_key: str) -> Validated | RateLimited | MissingScope:
    """Parse the body, charge the quota, and let the validator judge the records.

    Nothing is published or stored, and an idempotency key is left alone. Raises `InvalidBodyError` as `accept` does,
    and `UnavailableError` if the validator does not answer in time.
    """
    now_us = deps.now_us()
    batch = await read_records(request, deps, now_us)
    scope = SCOPES[batch.kind]
    if scope not in request.scopes:
        return MissingScope(scope)
    quota = await deps.rate_limiter.acquire(quota_key, limit=request.records_per_second, cost=batch.total)
    if not quota.allowed:
        return RateLimited(quota)
    # Part of what is judged is the job that the records name.
    job = build_job(request, batch, deps.new_job_id(now_us), now_us)
    verdicts = await deps.judge.judge(job)
    metrics.count_validated(batch.kind, total=batch.total, valid=sum(not faults for faults in verdicts.faults))
    return Validated(job, verdicts, quota)
