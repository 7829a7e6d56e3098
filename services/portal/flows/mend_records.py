"""Mends the failed records of a job: edited, checked with the same rules as an import, and sent as a new job."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast

from msgspec.structs import replace

from services.portal.domain.mending import (
    Draft,
    DraftState,
    EditableField,
    Fault,
    JobLink,
    apply_edits,
    decode_record,
    encode_record,
    has_fields,
    list_fields,
    other_faults,
    prepare_record,
)
from services.portal.ports import DraftStore, JobsApi, LinkStore, RecordSender
from tillstream.models import Job, Kind, RecordResult

RECORDS_PER_PAGE = 10
# What one request holds; records of the largest kind are fewer.
MAX_RECORDS = 50
# Of JSON: whatever the records, they take no more when compressed.
MAX_BATCH_BYTES = 90_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that mending may touch, with the token of who is signed in."""

    jobs: JobsApi
    imports: RecordSender
    drafts: DraftStore
    links: LinkStore
    now_us: Callable[[], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class MendableRecord:
    """A failed record, as far as it is mended. Without `fields` it is edited as JSON."""

    index: int
    name: str
    text: str
    fields: Sequence[EditableField] | None
    faults: Sequence[Fault]
    draft: Draft | None

    @property
    def state(self) -> DraftState:
        """Where it stands; one that nobody has touched is faulty."""
        return DraftState.FAULTY if self.draft is None else self.draft.state

    @property
    def lines(self) -> Sequence[tuple[int | None, Sequence[EditableField]]]:
        """Its fields by line, those of the record itself first."""
        return [(line, list(group)) for line, group in groupby(self.fields or (), key=lambda field: field.line)]

    @property
    def other_faults(self) -> Sequence[Fault]:
        """The faults that are of none of its fields."""
        return self.faults if self.fields is None else other_faults(self.fields, self.faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class MendingPage:
    """One page of the failed records of a job, and how many of all its drafts are ready."""

    job: Job
    records: Sequence[MendableRecord]
    ready: int
    sent: int
    next_page_token: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SentRecords:
    """The jobs that mended records became, and how many records these have; those that the check refused."""

    jobs: Sequence[str]
    records: int
    refused: int


async def load_page(site: int, job_id: str, page_token: str | None, deps: Deps) -> MendingPage:
    """Return a page of failed records with what was mended of them."""
    job = await deps.jobs.get(job_id)
    page = await deps.jobs.records_page(job_id, outcome="failed", rows=RECORDS_PER_PAGE, page_token=page_token)
    drafts = {draft.index: draft for draft in await deps.drafts.load(site, job_id, [each.index for each in page.items])}
    return MendingPage(
        job=job,
        records=[_describe(job, each, drafts.get(each.index)) for each in page.items],
        ready=await deps.drafts.count(site, job_id, DraftState.READY),
        sent=await deps.drafts.count(site, job_id, DraftState.SENT),
        next_page_token=page.next_page_token if len(page.items) == RECORDS_PER_PAGE else None,
    )


async def check_page(
    site: int, job_id: str, page_token: str | None, edits: Mapping[int, Mapping[str, str]], deps: Deps
) -> None:
    """Store what was edited on a page, each record with what is still wrong with it.

    `edits` has the texts of each record's fields by JSON pointer, or its whole JSON under an empty one.
    """
    page = await load_page(site, job_id, page_token, deps)
    open_records = [each for each in page.records if each.state in {DraftState.FAULTY, DraftState.READY}]
    drafts, parsed = [], []
    for record in open_records:
        try:
            edited = _edit(page.job, record, edits.get(record.index, {}))
        except ValueError as error:
            fault = Fault("MALFORMED_JSON", "", str(error))
            text = edits[record.index][""].encode()
            drafts.append(Draft(index=record.index, record=text, state=DraftState.FAULTY, faults=[fault]))
        else:
            parsed.append((record.index, edited))
    drafts += await _check(page.job, parsed, deps)
    await deps.drafts.save(site, job_id, drafts)


async def send_ready(site: int, job_id: str, deps: Deps) -> SentRecords:
    """Send all records of a job that are ready, checked once more; each new job is linked to the old one.

    A request that was interrupted is sent again under its key, so that nothing is sent twice.
    """
    job = await deps.jobs.get(job_id)
    jobs, sent, refused = [], 0, 0
    waiting = await deps.drafts.load(site, job_id)
    for batch in _interrupted(waiting):
        jobs.append(await _send(site, job, batch, deps))
        sent += len(batch)
    for batch in _batches([draft for draft in waiting if draft.state is DraftState.READY]):
        checked = await _check(job, [(draft.index, decode_record(draft.record)) for draft in batch], deps)
        faulty = [draft for draft in checked if draft.state is DraftState.FAULTY]
        await deps.drafts.save(site, job_id, faulty)
        refused += len(faulty)
        ready = [draft for draft in checked if draft.state is DraftState.READY]
        if ready:
            key = _batch_key(job_id, ready)
            sending = [replace(draft, state=DraftState.SENDING, batch=key) for draft in ready]
            await deps.drafts.save(site, job_id, sending)
            jobs.append(await _send(site, job, sending, deps))
            sent += len(ready)
    return SentRecords(jobs=jobs, records=sent, refused=refused)


def _describe(job: Job, result: RecordResult, draft: Draft | None) -> MendableRecord:
    kind = job.attributes.type
    faults: Sequence[Fault] = [Fault(fault.code, fault.field, fault.message) for fault in result.faults]
    record = prepare_record(result.record, mode=job.attributes.mode, user_id=result.user_id)
    text = encode_record(record).decode()
    if draft is not None:
        faults, text = draft.faults, draft.record.decode()
        try:
            record = decode_record(text)
        except ValueError:
            record = None
    fields = list_fields(record, kind, faults) if has_fields(record) else None
    name = result.id or " / ".join(part for part in (result.order_id, result.return_id) if part)
    return MendableRecord(
        index=result.index, name=name or f"#{result.index + 1}", text=text, fields=fields, faults=faults, draft=draft
    )


def _edit(job: Job, record: MendableRecord, edits: Mapping[str, str]) -> Any:
    """Return the record as it was edited; raises `ValueError` for broken JSON."""
    if record.fields is None:
        return decode_record(edits.get("", record.text))
    return apply_edits(decode_record(record.text), job.attributes.type, edits)


async def _check(job: Job, records: Sequence[tuple[int, Any]], deps: Deps) -> list[Draft]:
    """Return the records as drafts, with what an import would say of them."""
    if not records:
        return []
    kind = cast("Kind", job.attributes.type)
    validated = await deps.imports.validate([record for _, record in records], kind=kind)
    drafts = []
    for (index, record), result in zip(records, validated.records, strict=True):
        faults = [Fault(fault.code, fault.field, fault.message) for fault in result.faults]
        state = DraftState.FAULTY if faults else DraftState.READY
        drafts.append(Draft(index=index, record=encode_record(record), state=state, faults=faults))
    return drafts


async def _send(site: int, job: Job, batch: Sequence[Draft], deps: Deps) -> str:
    records = [decode_record(draft.record) for draft in batch]
    kind = cast("Kind", job.attributes.type)
    accepted = await deps.imports.send(records, kind=kind, idempotency_key=batch[0].batch)
    link = JobLink(job=accepted.job_id, mends=job.job_id, created_us=deps.now_us(), records=len(batch))
    await deps.links.add(site, link)
    sent = [replace(draft, state=DraftState.SENT, job=accepted.job_id) for draft in batch]
    await deps.drafts.save(site, job.job_id, sent)
    return accepted.job_id


def _interrupted(drafts: Sequence[Draft]) -> Iterator[Sequence[Draft]]:
    """Yield the requests that may have been sent."""
    keys = sorted({draft.batch or "" for draft in drafts if draft.state is DraftState.SENDING})
    for key in keys:
        yield [draft for draft in drafts if draft.state is DraftState.SENDING and draft.batch == key]


def _batches(drafts: Sequence[Draft]) -> Iterator[Sequence[Draft]]:
    batch: list[Draft] = []
    size = 0
    for draft in drafts:
        if batch and (len(batch) == MAX_RECORDS or size + len(draft.record) > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(draft)
        size += len(draft.record)
    if batch:
        yield batch


def _batch_key(job_id: str, drafts: Sequence[Draft]) -> str:
    digest = hashlib.sha256(f"mend:{job_id}".encode())
    for draft in drafts:
        digest.update(b"\0%d\0" % draft.index + draft.record)
    return digest.hexdigest()[:32]
