"""Jobs and chunks as MongoDB documents.

The state of a job is the only element of an array. So an update can be conditional on the state that it was computed
from, by an array filter, while it finds its document by `_id` alone: MongoDB plans every other filter again, which
takes a quarter of an update's time. (Indexes address the element by its number: `job.0…`.)
"""

from collections.abc import Iterator, Mapping
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
    """An update of the document that matches `filter`; of a job, whose state must also match `stored`."""

    filter: Document
    change: Document
    stored: Document | None = None


STATE = "job.0.state"
HEADER_FIELDS = {"job.profile": 1}
SUMMARY_FIELDS = HEADER_FIELDS | dict.fromkeys(("job.state.version", "job.state.shown", "job.state.tally"), 1)

# Times may be before 1970, and bytes are ordered without a sign.
_TIME_OFFSET_US = 2**63
_FIRST_ID = "0" * 32


def job_document_id(key: JobKey) -> str:
    """The `_id` of a job."""
    return f"{key.site}:{key.job_id}"


def chunk_document_id(key: JobKey, number: int) -> str:
    """The `_id` of a chunk; those of a job are in the order of its records."""
    return f"{key.site}:{key.job_id}:{number:05d}"


def list_position(created_us: int, job_id: str) -> bytes:
    """A job's position in its site's list as one value that MongoDB orders: by time, then by id."""
    return (created_us + _TIME_OFFSET_US).to_bytes(8, "big") + bytes.fromhex(job_id.replace("-", ""))


def list_position_at(created_us: int) -> bytes:
    """The position before all jobs that were created at that time or later."""
    return list_position(created_us, _FIRST_ID)


def filter_key(state: str, type_: str, mode: str) -> str:
    """State, type and mode, by which lists are filtered, as one value."""
    return f"{state}/{type_}/{mode}"


def job_document(change: JobChange, written: datetime) -> Document:
    """The document of a job that is stored for the first time."""
    job = change.job
    element: Document = {"profile": _profile_document(job.profile), "state": _state_document(job, written)}
    if job.is_large:
        element["chunks"] = _tally_documents(job)
    else:
        element["runs"] = [_run_document(run) for run in change.added_runs]
    key = job.key
    return {
        "_id": job_document_id(key),
        "site": key.site,
        "position": list_position(job.profile.header.created_at, key.job_id),
        "inserted": written,
        "job": [element],
    }


def job_update(change: JobChange, written: datetime) -> Update:
    """The update of a stored job, conditional on the state that the change was computed from."""
    job = change.job
    stored: Document = {"stored.state.version": change.expected_version}
    if change.is_blind:
        header = job.profile.header
        stored["stored.state.filter"] = filter_key("RECEIVED", header.type, header.mode)
        stored["stored.profile"] = _profile_document(job.profile)
    changed: Document = {"job.$[stored].state": _state_document(job, written)}
    if job.is_large:
        changed["job.$[stored].chunks"] = _tally_documents(job)
    update: Document = {"$set": changed}
    if change.added_runs:
        update["$push"] = {"job.$[stored].runs": {"$each": [_run_document(run) for run in change.added_runs]}}
    return Update({"_id": job_document_id(job.key)}, update, stored)


def _profile_document(profile: JobProfile) -> Document:
    header, site = profile.header, profile.site
    return {
        "total": header.total,
        "created": header.created_at,
        "mode": header.mode,
        "type": header.type,
        "app": site.app_id,
        "source": site.root_source,
        "datacenter": site.datacenter,
    }


def _state_document(job: Job, written: datetime) -> Document:
    header = job.profile.header
    return {
        "filter": filter_key(job.state, header.type, header.mode),
        "version": job.version,
        "shown": job.shown_version,
        "tally": astuple(job.tally),
        "written": written,
    }


def _tally_documents(job: Job) -> list[tuple[Any, ...]]:
    return [astuple(tally) for tally in job.chunk_tallies]


def chunk_document(change: ChunkChange, written: datetime) -> Document:
    """The document of a chunk that is stored for the first time."""
    return {
        "_id": chunk_document_id(change.key, change.block.number),
        "version": change.block.version,
        "size": len(change.block.outcomes),
        "runs": [_run_document(run) for run in change.added_runs],
        "written": written,
    }


def chunk_update(change: ChunkChange, written: datetime) -> Update:
    """The update of a stored chunk. There are far fewer than jobs, so its condition is in the plain filter."""
    filter_ = {"_id": chunk_document_id(change.key, change.block.number), "version": change.expected_version}
    added = {"runs": {"$each": [_run_document(run) for run in change.added_runs]}}
    return Update(filter_, {"$set": {"version": change.block.version, "written": written}, "$push": added})


def _run_document(run: StoredRun) -> Document:
    document: Document = {"first": run.first, "outcomes": run.outcomes, "at": run.at_us}
    if run.rows:
        document["rows"] = run.rows
    if run.levels:
        document |= {"levels": run.levels, "events": run.events, "details": run.details}
    if run.is_late:
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
    """A stored job; with its block if it is small and its runs were loaded."""
    (element,) = document["job"]
    tallies = tuple(Tally(*tally) for tally in element.get("chunks", ()))
    total = element["profile"]["total"]
    if is_large(total) and len(tallies) != chunk_count(total):
        raise ValueError(f"job {document['_id']} lacks tallies of chunks")
    job = _job_from(document, tallies)
    if job.is_large or "runs" not in element:
        return StoredJob(job, None)
    runs = [_run_from(run) for run in element["runs"]]
    return StoredJob(job, build_block(0, 0, job.profile.total, runs))


def summary_job_from(document: Mapping[str, Any]) -> Job:
    """A job that was loaded with `SUMMARY_FIELDS`; a large one without the tallies of its chunks."""
    return _job_from(document, ())


@lru_cache(maxsize=16_384)
def summary_job_from_raw(document: bytes) -> Job:
    """The same from raw BSON: a list is asked for repeatedly, and most of its jobs are unchanged.

    The cache holds more than the longest list has jobs; a longer list would evict its own entries.
    """
    return summary_job_from(bson.decode(document))


def split_batch(batch: bytes) -> Iterator[bytes]:
    """The documents of a batch of raw BSON: each begins with its size."""
    start = 0
    while start < len(batch):
        end = start + int.from_bytes(batch[start : start + 4], "little")
        yield batch[start:end]
        start = end


def _job_from(document: Mapping[str, Any], chunk_tallies: tuple[Tally, ...]) -> Job:
    (element,) = document["job"]
    profile, state = element["profile"], element["state"]
    site = SiteProfile(profile["app"], profile["source"], profile["datacenter"])
    return Job(
        JobProfile(header_from(document), site), state["version"], state["shown"], Tally(*state["tally"]), chunk_tallies
    )


def header_from(document: Mapping[str, Any]) -> JobHeader:
    """The header of a stored job that was loaded with `HEADER_FIELDS` at least."""
    profile = document["job"][0]["profile"]
    return JobHeader(key_from(document["_id"]), profile["total"], profile["created"], profile["mode"], profile["type"])


def key_from(document_id: str) -> JobKey:
    """The key of the job that a job's or chunk's `_id` names."""
    site, job_id = document_id.split(":", 2)[:2]
    return JobKey(int(site), job_id)


def block_from(document: Mapping[str, Any], total: int) -> Block:
    """A stored chunk of a job with `total` records."""
    number = int(document["_id"].rpartition(":")[2])
    runs = [_run_from(run) for run in document["runs"]]
    return build_block(number, number * CHUNK_SIZE, chunk_size(number, total), runs)
