"""Jobs and chunks as MongoDB's documents."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec.structs import astuple

from services.status.domain.block import Block, Entry, block_of
from services.status.domain.chunks import SIZE, Tally, count_of, is_large, size_of
from services.status.domain.facts import Header, Key
from services.status.domain.job import Change, ChunkChange, Job, Standing, State
from services.status.domain.profile import Origin, Profile
from services.values.time_uuids import is_uuid

Document = dict[str, Any]


def job_id_of(text: str) -> str | None:
    """The job id in the form in which it is stored, or None if the text is none."""
    lowered = text.lower()
    return lowered if is_uuid(lowered) else None


HEADER_FIELDS = dict.fromkeys(("total", "created", "mode", "type"), 1)
BARE_FIELDS = HEADER_FIELDS | dict.fromkeys(("app", "source", "datacenter", "version", "shown", "tally"), 1)


def job_key(key: Key) -> str:
    """The `_id` of a job."""
    return f"{key.site}:{key.job_id}"


def chunk_key(key: Key, number: int) -> str:
    """The `_id` of a chunk: in the order of the records."""
    return f"{key.site}:{key.job_id}:{number:05d}"


def kind_of(job: Job) -> str:
    """What lists are filtered by, as one value."""
    return kind(job.state, job.profile.header.type, job.profile.header.mode)


def kind(state: str, type_: str, mode: str) -> str:
    """State, type and mode as one value."""
    return f"{state}/{type_}/{mode}"


def state_of(kind: str) -> State:
    """The state that such a value begins with."""
    return State(kind.partition("/")[0])


def job_document(change: Change, written: datetime) -> Document:
    """A job that is stored for the first time."""
    job = change.job
    header, origin = job.profile.header, job.profile.origin
    document = {
        "_id": job_key(job.key),
        "site": job.key.site,
        "since": written,
        "total": header.total,
        "created": header.created_us,
        "mode": header.mode,
        "type": header.type,
        "app": origin.app_id,
        "source": origin.root_source,
        "datacenter": origin.datacenter,
        **_state(job, written),
    }
    if not job.is_large:
        document["runs"] = [_entry_document(entry) for entry in change.added]
    return document


def job_update(change: Change, written: datetime) -> tuple[Document, Document]:
    """Filter and update of a job that is stored already: the filter holds the state it was computed from."""
    job = change.job
    where: Document = {"_id": job_key(job.key), "version": change.expected}
    if change.is_blind:
        header, origin = job.profile.header, job.profile.origin
        where["kind"] = kind("RECEIVED", header.type, header.mode)
        where |= {"total": header.total, "source": origin.root_source, "datacenter": origin.datacenter}
    update: Document = {"$set": _state(job, written)}
    if change.added:
        update["$push"] = {"runs": {"$each": [_entry_document(entry) for entry in change.added]}}
    return where, update


def _state(job: Job, written: datetime) -> Document:
    state: Document = {
        "kind": kind_of(job),
        "version": job.version,
        "shown": job.shown,
        "tally": astuple(job.whole),
        "written": written,
    }
    if job.is_large:
        state["chunks"] = [astuple(chunk) for chunk in job.chunks]
    return state


def chunk_document(change: ChunkChange, written: datetime) -> Document:
    """A chunk that is stored for the first time."""
    return {
        "_id": chunk_key(change.key, change.block.number),
        "version": change.block.version,
        "size": len(change.block.letters),
        "runs": [_entry_document(entry) for entry in change.added],
        "written": written,
    }


def chunk_update(change: ChunkChange, written: datetime) -> tuple[Document, Document]:
    """Filter and update of a chunk that is stored already."""
    where = {"_id": chunk_key(change.key, change.block.number), "version": change.expected}
    return where, {
        "$set": {"version": change.block.version, "written": written},
        "$push": {"runs": {"$each": [_entry_document(entry) for entry in change.added]}},
    }


def _entry_document(entry: Entry) -> Document:
    document: Document = {"first": entry.first, "outcomes": entry.letters, "at": entry.at_us}
    if entry.rows:
        document["rows"] = entry.rows
    if entry.levels:
        document |= {"levels": entry.levels, "events": entry.events, "details": entry.details}
    if entry.is_late:
        document["late"] = True
    return document


def _entry(document: Mapping[str, Any]) -> Entry:
    return Entry(
        document["first"],
        document["outcomes"],
        document["at"],
        document.get("rows", ""),
        document.get("levels", ""),
        document.get("events", ""),
        document.get("details", ""),
        document.get("late", False),
    )


def standing_of(document: Mapping[str, Any]) -> Standing:
    """A stored job; its block too, if it is small and its runs were read."""
    job = job_of(document)
    if job.is_large or "runs" not in document:
        return Standing(job, None)
    entries = [_entry(run) for run in document["runs"]]
    return Standing(job, block_of(0, 0, job.profile.total, version=job.version, entries=entries))


def job_of(document: Mapping[str, Any]) -> Job:
    """A stored job without its entries."""
    chunks = tuple(Tally(*chunk) for chunk in document.get("chunks", ()))
    total = document["total"]
    if is_large(total) and len(chunks) != count_of(total):
        raise ValueError(f"job {document['_id']} lacks tallies of chunks")
    return _job(document, chunks)


def bare_job_of(document: Mapping[str, Any]) -> Job:
    """A job as summaries and lists need it, read with `BARE_FIELDS`: of a large one, without its chunks' tallies."""
    return _job(document, ())


def _job(document: Mapping[str, Any], chunks: tuple[Tally, ...]) -> Job:
    profile = Profile(header_of(document), Origin(document["app"], document["source"], document["datacenter"]))
    return Job(profile, document["version"], document["shown"], Tally(*document["tally"]), chunks)


def header_of(document: Mapping[str, Any]) -> Header:
    """The header of a stored job, which was read with `HEADER_FIELDS` at least."""
    return Header(key_of(document["_id"]), document["total"], document["created"], document["mode"], document["type"])


def key_of(stored: str) -> Key:
    """The job that an `_id` names."""
    site, job_id = stored.split(":", 2)[:2]
    return Key(int(site), job_id)


def block_from(document: Mapping[str, Any], total: int) -> Block:
    """A stored chunk of a job of so many records."""
    number = int(document["_id"].rpartition(":")[2])
    entries = [_entry(run) for run in document["runs"]]
    size = size_of(number, total)
    return block_of(number, number * SIZE, size, version=document["version"], entries=entries)
