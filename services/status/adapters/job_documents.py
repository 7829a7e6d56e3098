"""Jobs and chunks as MongoDB's documents.

All that is known of a job is an array of one. So an update can be conditional on what it was computed from, by an array
filter, while it names its document by `_id` alone: MongoDB plans every other filter anew, for a quarter of the time
that an update takes. (Indexes name the job by its number: `job.0…`.)
"""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import bson
from msgspec.structs import astuple

from services.jobs.events import JobHeader, JobKey
from services.status.domain.block import Block, StoredRun, build_block
from services.status.domain.chunks import CHUNK_SIZE, Tally, chunk_count, chunk_size, is_large
from services.status.domain.job import ChunkChange, Job, JobChange, StoredJob
from services.status.domain.profile import JobProfile, SiteProfile

Document = dict[str, Any]


class Update(NamedTuple):
    """Which document is changed, and how; of a job, `known` is what it must hold for that."""

    filter: Document
    change: Document
    stored: Document | None = None


STATE = "job.0.state"
HEADER_FIELDS = {"job.profile": 1}
SUMMARY_FIELDS = HEADER_FIELDS | dict.fromkeys(("job.state.version", "job.state.shown", "job.state.tally"), 1)

# Times may lie before 1970, and bytes have no sign.
_BEFORE_ALL_US = 2**63
_FIRST_ID = "0" * 32


def job_document_id(key: JobKey) -> str:
    """The `_id` of a job."""
    return f"{key.site}:{key.job_id}"


def chunk_document_id(key: JobKey, number: int) -> str:
    """The `_id` of a chunk: in the order of the records."""
    return f"{key.site}:{key.job_id}:{number:05d}"


def list_position(created_us: int, job_id: str) -> bytes:
    """Where a job stands in the list of its site, as one value that MongoDB orders: by time, then by id."""
    return (created_us + _BEFORE_ALL_US).to_bytes(8, "big") + bytes.fromhex(job_id.replace("-", ""))


def list_position_at(created_us: int) -> bytes:
    """In front of all jobs that were made at that time or later."""
    return list_position(created_us, _FIRST_ID)


def _filter_key(job: Job) -> str:
    """What lists are filtered by, as one value."""
    return filter_key(job.state, job.profile.header.type, job.profile.header.mode)


def filter_key(state: str, type_: str, mode: str) -> str:
    """State, type and mode as one value."""
    return f"{state}/{type_}/{mode}"


def job_document(change: JobChange, written: datetime) -> Document:
    """A job that is stored for the first time."""
    job = change.job
    known: Document = {"profile": _profile_document(job.profile), "state": _state(job, written)}
    if job.is_large:
        known["chunks"] = _tally_documents(job)
    else:
        known["runs"] = [_run_document(entry) for entry in change.added_runs]
    key, created_us = job.key, job.profile.header.created_at
    shown = {"site": key.site, "place": list_position(created_us, key.job_id)}
    return {"_id": job_document_id(key), **shown, "since": written, "job": [known]}


def job_update(change: JobChange, written: datetime) -> Update:
    """The change of a job that is stored already, if it still is as it was when the change was computed."""
    job = change.job
    known: Document = {"known.state.version": change.expected_version}
    if change.is_blind:
        header = job.profile.header
        known["known.state.kind"] = filter_key("RECEIVED", header.type, header.mode)
        known["known.profile"] = _profile_document(job.profile)
    changed: Document = {"job.$[known].state": _state(job, written)}
    if job.is_large:
        changed["job.$[known].chunks"] = _tally_documents(job)
    update: Document = {"$set": changed}
    if change.added_runs:
        update["$push"] = {"job.$[known].runs": {"$each": [_run_document(entry) for entry in change.added_runs]}}
    return Update({"_id": job_document_id(job.key)}, update, known)


def _profile_document(profile: JobProfile) -> Document:
    header, origin = profile.header, profile.site
    return {
        "total": header.total,
        "created": header.created_at,
        "mode": header.mode,
        "type": header.type,
        "app": origin.app_id,
        "source": origin.root_source,
        "datacenter": origin.datacenter,
    }


def _state(job: Job, written: datetime) -> Document:
    return {
        "kind": _filter_key(job),
        "version": job.version,
        "shown": job.shown_version,
        "tally": astuple(job.tally),
        "written": written,
    }


def _tally_documents(job: Job) -> list[tuple[Any, ...]]:
    return [astuple(chunk) for chunk in job.chunk_tallies]


def chunk_document(change: ChunkChange, written: datetime) -> Document:
    """A chunk that is stored for the first time."""
    return {
        "_id": chunk_document_id(change.key, change.block.number),
        "version": change.block.version,
        "size": len(change.block.outcomes),
        "runs": [_run_document(entry) for entry in change.added_runs],
        "written": written,
    }


def chunk_update(change: ChunkChange, written: datetime) -> Update:
    """Likewise of a chunk: there are far fewer, so the condition stands where one looks for it."""
    where = {"_id": chunk_document_id(change.key, change.block.number), "version": change.expected_version}
    added = {"runs": {"$each": [_run_document(entry) for entry in change.added_runs]}}
    return Update(where, {"$set": {"version": change.block.version, "written": written}, "$push": added})


def _run_document(entry: StoredRun) -> Document:
    document: Document = {"first": entry.first, "outcomes": entry.outcomes, "at": entry.at_us}
    if entry.rows:
        document["rows"] = entry.rows
    if entry.levels:
        document |= {"levels": entry.levels, "events": entry.events, "details": entry.details}
    if entry.is_late:
        document["late"] = True
    return document


def _run_from(document: Mapping[str, Any]) -> StoredRun:
    return StoredRun(
        document["first"],
        document["outcomes"],
        document["at"],
        document.get("rows", ""),
        document.get("levels", ""),
        document.get("events", ""),
        document.get("details", ""),
        document.get("late", False),
    )


def stored_job_from(document: Mapping[str, Any]) -> StoredJob:
    """A stored job; its block too, if it is small and its runs were read."""
    job, (known,) = job_from(document), document["job"]
    if job.is_large or "runs" not in known:
        return StoredJob(job, None)
    entries = [_run_from(run) for run in known["runs"]]
    return StoredJob(job, build_block(0, 0, job.profile.total, version=job.version, runs=entries))


def job_from(document: Mapping[str, Any]) -> Job:
    """A stored job without its entries."""
    (known,) = document["job"]
    chunks = tuple(Tally(*chunk) for chunk in known.get("chunks", ()))
    total = known["profile"]["total"]
    if is_large(total) and len(chunks) != chunk_count(total):
        raise ValueError(f"job {document['_id']} lacks tallies of chunks")
    return _job_from(document, chunks)


def summary_job_from(document: Mapping[str, Any]) -> Job:
    """A job as summaries and lists need it, read with `BARE_FIELDS`: of a large one, without its chunks' tallies."""
    return _job_from(document, ())


@lru_cache(maxsize=16_384)
def summary_job_from_raw(document: bytes) -> Job:
    """Such a job, from the document as it came: who asks for a list asks again, and most of its jobs are the same.

    More are kept than the longest list has, since one that does not fit would find none of its own again.
    """
    return summary_job_from(bson.decode(document))


def _job_from(document: Mapping[str, Any], chunks: tuple[Tally, ...]) -> Job:
    (known,) = document["job"]
    profile, state = known["profile"], known["state"]
    origin = SiteProfile(profile["app"], profile["source"], profile["datacenter"])
    return Job(
        JobProfile(header_from(document), origin), state["version"], state["shown"], Tally(*state["tally"]), chunks
    )


def header_from(document: Mapping[str, Any]) -> JobHeader:
    """The header of a stored job, which was read with `HEADER_FIELDS` at least."""
    profile = document["job"][0]["profile"]
    return JobHeader(key_from(document["_id"]), profile["total"], profile["created"], profile["mode"], profile["type"])


def key_from(stored: str) -> JobKey:
    """The job that an `_id` names."""
    site, job_id = stored.split(":", 2)[:2]
    return JobKey(int(site), job_id)


def block_from(document: Mapping[str, Any], total: int) -> Block:
    """A stored chunk of a job of so many records."""
    number = int(document["_id"].rpartition(":")[2])
    entries = [_run_from(run) for run in document["runs"]]
    size = chunk_size(number, total)
    return build_block(number, number * CHUNK_SIZE, size, version=document["version"], runs=entries)
