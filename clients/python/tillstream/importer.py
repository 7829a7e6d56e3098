"""Imports a whole file: packs, sends at the pace of the limit, follows the jobs, and can be resumed at any point."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import dropwhile
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import quote

from tillstream.errors import (
    ApiError,
    InvalidRequestError,
    NotFoundError,
    RateLimitedError,
    TillstreamError,
    UnavailableError,
)
from tillstream.http import IMPORT, MAX_LAG_S, decode, job_age_s
from tillstream.manifest import ImportState, RecordFault, StoredBatch, Tally
from tillstream.models import Accepted, Fault, Kind, Mode, RecordResult, Validated
from tillstream.pace import Pace, Sent
from tillstream.packing import Bounds, Unsent, pack
from tillstream.sources.records import Source

if TYPE_CHECKING:
    # The client uses this module.
    from tillstream._sync.client import Client

MAX_SENDERS = 8
FOLLOWERS = 4
# Requests per second of the status API; the server's default is 50 for each client.
STATUS_REQUESTS_PER_S = 40
_TICK_S = 0.25
# How long a stopped import waits for responses.
_DRAIN_S = 5.0
_TRUE = {"validateOnly": "true"}
# Of a record whose job has ended without an outcome for it.
NOT_PROCESSED = Fault("UNPROCESSED", "", "not processed in time; import it again")
# The status API forgets jobs after some weeks; one that it does not know after this time, it has forgotten.
_KNOWN_AFTER_S = 86_400.0


class StoppedError(TillstreamError):
    """The import was stopped; the same command goes on where it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What to import the records as. `share` is the part of the site's limit to use."""

    kind: Kind = "orders"
    mode: Mode | None = None
    share: float = 1.0
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import is. `left_s` is None while it cannot be told; `throttled` counts refusals by the limit.

    `waits_for` is the failure after which a request is repeated, while services are away.
    """

    total: int
    tally: Tally
    records_per_s: float
    left_s: float | None
    throttled: int
    waits_for: TillstreamError | None = None

    @property
    def is_done(self) -> bool:
        """Whether the outcome of each record is known."""
        return self.tally.decided >= self.total


class Importer:
    """One run of an import. `stop` may be called from a signal handler or another thread."""

    def __init__(self, client: "Client", source: Source, manifest: ImportState, options: ImportOptions) -> None:
        self._client = client
        self._source = source
        self._manifest = manifest
        self._options = options
        self._stopping = threading.Event()
        self._waiting: deque[StoredBatch] = deque()
        self._again: list[StoredBatch] = []
        self._sending: dict[Future[Callable[[], None]], StoredBatch] = {}
        self._following: set[Future[Callable[[], None]]] = set()
        self._share = options.share
        self._pace: Pace | None = None
        self._status_pace = Pace(STATUS_REQUESTS_PER_S, share=options.share)
        self._started_at = monotonic()
        self._total = 0
        self._decided_before = self._sent_before = 0
        self._tally = Tally(0, 0, 0, 0)

    def stop(self) -> None:
        """Send nothing more; `run` raises `StoppedError` once the requests in flight are answered."""
        self._stopping.set()

    def set_share(self, share: float) -> None:
        """Use another part of the limits from now on; may be called at any time and from any thread."""
        self._share = share
        self._status_pace.set_share(share)
        if self._pace is not None:
            self._pace.set_share(share)

    def run(self, total: int) -> Iterator[Progress]:
        """Import what the manifest does not have yet; yields progress a few times a second.

        Raises `StoppedError` after `stop`, and what the client raises if the server refuses the whole import or stays
        unavailable; the manifest then has everything that is known, and another run goes on.
        """
        self._total = total
        self._started_at = monotonic()
        self._tally = self._manifest.tally()
        self._sent_before, self._decided_before = self._tally.sent, self._tally.decided
        if self._tally.decided >= total:
            yield self.progress()
            return
        limits = self._client.imports.limits(validate_only=self._options.dry_run)
        pace = self._pace = Pace(limits.records_per_second, share=self._share)
        # Changed between reading it and now.
        pace.set_share(self._share)
        bounds = Bounds.of(limits, records_per_second=pace.budget)
        prepared, accepted = self._manifest.unfinished()
        self._waiting.extend(accepted)
        senders, followers = ThreadPoolExecutor(MAX_SENDERS), ThreadPoolExecutor(FOLLOWERS)
        batches = self._batches(prepared, bounds)
        try:
            while (batch := self._next_batch(batches)) is not None or self._is_busy:
                self._check_stop()
                if batch is not None:
                    yield from self._send(batch, pace, senders, followers)
                else:
                    yield from self._collect(followers)
        except BaseException:
            self._stopping.set()
            self._drain()
            raise
        finally:
            # A request that is repeated for minutes must not hold up a process that is to stop.
            for executor in (senders, followers):
                executor.shutdown(wait=False, cancel_futures=True)
        self._tally = self._manifest.tally()
        yield self.progress()

    def progress(self) -> Progress:
        """Return how far the import is."""
        elapsed = max(monotonic() - self._started_at, 0.001)
        done = self._tally.sent - self._sent_before
        rate = done / elapsed
        left = None if not done else max(self._total - self._tally.sent - self._tally.unsent, 0) / rate
        transport = self._client.transport
        return Progress(self._total, self._tally, rate, left, transport.throttled, transport.last_failure)

    @property
    def _is_busy(self) -> bool:
        return bool(self._sending or self._following or self._waiting or self._again)

    def _next_batch(self, batches: Iterator[StoredBatch]) -> StoredBatch | None:
        return self._again.pop() if self._again else next(batches, None)

    def _batches(self, prepared: list[StoredBatch], bounds: Bounds) -> Iterator[StoredBatch]:
        """Yield what is to be sent: what an earlier run may have sent or not, then the rest of the file."""
        yield from prepared
        first = self._manifest.next_record
        rest = dropwhile(lambda record: record.number < first, self._source.records())
        for item in pack(rest, bounds):
            if isinstance(item, Unsent):
                self._manifest.add_unsent(item)
                self._count(unsent=1)
            else:
                yield self._manifest.prepare(item)

    def _send(
        self, batch: StoredBatch, pace: Pace, senders: ThreadPoolExecutor, followers: ThreadPoolExecutor
    ) -> Iterator[Progress]:
        """Send a batch as soon as the limit has room for it."""
        while True:
            self._check_stop()
            is_full = len(self._sending) >= MAX_SENDERS
            pause = _TICK_S if is_full else pace.wait_s(batch.count)
            if pause <= 0:
                break
            yield from self._collect(followers, timeout_s=pause)
        sent = pace.start(batch.count)
        self._sending[senders.submit(self._request, batch, pace, sent)] = batch
        yield from self._collect(followers, timeout_s=0)

    def _request(self, batch: StoredBatch, pace: Pace, sent: Sent) -> Callable[[], None]:
        """Send one batch, in a thread; return what to store, in the main one."""
        options = self._options
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        if not options.dry_run:
            headers["Idempotency-Key"] = batch.key
        path = f"/{quote(self._client.transport.credentials.api_key, safe='')}/{options.kind}"
        params = {"mode": options.mode, **(_TRUE if options.dry_run else {})}
        try:
            response = self._client.transport.request(
                IMPORT, "POST", path, params=params, content=batch.body, headers=headers
            )
        except InvalidRequestError as error:
            pace.finish(sent)
            if error.code == "IDEMPOTENCY_CONFLICT":
                return lambda: self._resend(batch)
            refusal = error
            return lambda: self._refuse(batch, refusal)
        except BaseException:
            pace.finish(sent)
            raise
        pace.finish(sent, response.headers)
        if options.dry_run:
            validated = decode(response.body, Validated)
            return lambda: self._finish(batch, validated.records)
        job = decode(response.body, Accepted).job_id
        return lambda: self._accept(batch, job)

    def _accept(self, batch: StoredBatch, job: str) -> None:
        self._waiting.append(self._manifest.accept(batch, job))
        self._count(sent=batch.count)

    def _resend(self, batch: StoredBatch) -> None:
        # The key was used for other bytes: by an earlier version of this program. Imports are upserts.
        self._again.append(self._manifest.renew_key(batch))

    def _refuse(self, batch: StoredBatch, error: ApiError) -> None:
        """The whole request was refused: so are its records."""
        numbers = range(batch.first, batch.first + batch.count)
        faults = [RecordFault(number, error.code, "", error.detail) for number in numbers]
        self._manifest.finish(batch, succeeded=0, faults=faults)
        self._count(sent=batch.count, failed=batch.count)

    def _forget(self, batch: StoredBatch) -> None:
        """The job is deleted, and what became of its records with it."""
        message = f"the outcome is no longer known: job {batch.job} is deleted; look the record up, or import it again"
        numbers = range(batch.first, batch.first + batch.count)
        faults = [RecordFault(number, "OUTCOME_UNKNOWN", "", message) for number in numbers]
        self._manifest.finish(batch, succeeded=0, faults=faults)
        self._count(failed=batch.count)

    def _follow(self, batch: StoredBatch) -> Callable[[], None]:
        """Wait for one job, in a thread; return what to store, in the main one."""
        job_id = batch.job or ""
        job = None
        began_at = monotonic()
        while job is None or not job.terminal:
            self._await_status_limit()
            try:
                job = self._client.jobs.get(job_id, wait_s=2)
            except NotFoundError as error:
                # Accepted, and not shown yet. Old ones are waited for together: thousands of them may be deleted.
                is_old = is_old_job(job_id, error)
                if monotonic() > (self._started_at if is_old else began_at) + MAX_LAG_S:
                    if is_old:
                        return lambda: self._forget(batch)
                    raise StoppedError(f"job {job_id} is not known to the status API yet") from None
                self._stopping.wait(1.0)
        failed: list[RecordResult] = []
        if job.counts.failed:
            self._await_status_limit()
            failed += self._client.jobs.records(job_id, outcome="failed")
        if job.counts.unprocessed:
            self._await_status_limit()
            failed += self._client.jobs.records(job_id, outcome="unprocessed")
        return lambda: self._finish(batch, failed)

    def _await_status_limit(self) -> None:
        """Return once the limit of the status API has room for a request."""
        while (pause := self._status_pace.wait_s(1)) > 0:
            self._check_stop()
            # Infinite, while another thread begins a request.
            self._stopping.wait(min(pause, _TICK_S))
        self._check_stop()
        self._status_pace.finish(self._status_pace.start(1))

    def _finish(self, batch: StoredBatch, records: list[RecordResult]) -> None:
        failed = [record for record in records if record.outcome != "succeeded"]
        faults = [
            _record_fault(batch.first + record.index, fault)
            for record in failed
            for fault in record.faults or [NOT_PROCESSED]
        ]
        succeeded = batch.count - len(failed)
        self._manifest.finish(batch, succeeded=succeeded, faults=faults)
        # A dry run has no job: its outcome is the response.
        self._count(sent=0 if batch.job else batch.count, succeeded=succeeded, failed=len(failed))

    def _collect(self, followers: ThreadPoolExecutor, timeout_s: float = _TICK_S) -> Iterator[Progress]:
        """Store what is answered, follow more jobs, and wait for at most `timeout_s`."""
        while self._waiting and len(self._following) < FOLLOWERS:
            self._following.add(followers.submit(self._follow, self._waiting.popleft()))
        in_flight = [*self._sending, *self._following]
        timeout_s = min(timeout_s, _TICK_S)
        done, _ = wait(in_flight, timeout=timeout_s, return_when=FIRST_COMPLETED)
        if not in_flight and timeout_s > 0:
            self._stopping.wait(timeout_s)
        for future in done:
            self._store(future)
        if done or timeout_s > 0:
            yield self.progress()

    def _store(self, future: "Future[Callable[[], None]]") -> None:
        self._sending.pop(future, None)
        self._following.discard(future)
        future.result()()

    def _drain(self) -> None:
        """Store what is answered yet; failures are known already."""
        done, _ = wait(list(self._sending), timeout=_DRAIN_S)
        for future in done:
            if not future.cancelled() and future.exception() is None:
                self._store(future)

    def _count(self, *, sent: int = 0, succeeded: int = 0, failed: int = 0, unsent: int = 0) -> None:
        # Counting in the manifest would take longer with each request.
        known = self._tally
        self._tally = Tally(
            known.sent + sent, known.succeeded + succeeded, known.failed + failed, known.unsent + unsent
        )

    def _check_stop(self) -> None:
        if self._stopping.is_set():
            raise StoppedError("the import was stopped; the same command goes on")


def _record_fault(record: int, fault: Fault) -> RecordFault:
    return RecordFault(record, fault.code, fault.field, fault.message, fault.product_id)


def is_resumable(error: TillstreamError) -> bool:
    """Return whether the same import may succeed later as it is."""
    return isinstance(error, StoppedError | UnavailableError | RateLimitedError)


def is_old_job(job_id: str, error: ApiError) -> bool:
    """Return whether the status API has known a job for long, unless it has deleted it meanwhile."""
    return (job_age_s(job_id, error) or 0) > _KNOWN_AFTER_S
