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

from services.status.domain.block import Block, Entry, block_of
from services.status.domain.chunks import SIZE, Tally, count_of, is_large, size_of
from services.status.domain.facts import Header, Key
from services.status.domain.job import Change, ChunkChange, Job, Standing
from services.status.domain.profile import Origin, Profile
from services.values.time_uuids import is_uuid

Document = dict[str, Any]


class Update(NamedTuple):
    """Which document is changed, and how; of a job, `known` is what it must hold for that."""

    where: Document
    change: Document
    known: Document | None = None


def job_id_of(text: str) -> str | None:
    """The job id in the form in which it is stored, or None if the text is none."""
    lowered = text.lower()
    return lowered if is_uuid(lowered) else None


STATE = "job.0.state"
HEADER_FIELDS = {"job.profile": 1}
BARE_FIELDS = HEADER_FIELDS | dict.fromkeys(("job.state.version", "job.state.shown", "job.state.tally"), 1)

# Times may lie before 1970, and bytes have no sign.
_BEFORE_ALL_US = 2**63
_FIRST_ID = "0" * 32


def job_key(key: Key) -> str:
    """The `_id` of a job."""
    return f"{key.site}:{key.job_id}"


def chunk_key(key: Key, number: int) -> str:
    """The `_id` of a chunk: in the order of the records."""
    return f"{key.site}:{key.job_id}:{number:05d}"


def place(created_us: int, job_id: str) -> bytes:
    """Where a job stands in the list of its site, as one value that MongoDB orders: by time, then by id."""
    return (created_us + _BEFORE_ALL_US).to_bytes(8, "big") + bytes.fromhex(job_id.replace("-", ""))


def place_at(created_us: int) -> bytes:
    """In front of all jobs that were made at that time or later."""
    return place(created_us, _FIRST_ID)


def kind_of(job: Job) -> str:
    """What lists are filtered by, as one value."""
    return kind(job.state, job.profile.header.type, job.profile.header.mode)


def kind(state: str, type_: str, mode: str) -> str:
    """State, type and mode as one value."""
    return f"{state}/{type_}/{mode}"


def job_document(change: Change, written: datetime) -> Document:
    """A job that is stored for the first time."""
    job = change.job
    known: Document = {"profile": _profile_document(job.profile), "state": _state(job, written)}
    if job.is_large:
        known["chunks"] = _tallies(job)
    else:
        known["runs"] = [_entry_document(entry) for entry in change.added]
    key, created_us = job.key, job.profile.header.created_us
    shown = {"site": key.site, "place": place(created_us, key.job_id)}
    return {"_id": job_key(key), **shown, "since": written, "job": [known]}


def job_update(change: Change, written: datetime) -> Update:
    """The change of a job that is stored already, if it still is as it was when the change was computed."""
    job = change.job
    known: Document = {"known.state.version": change.expected}
    if change.is_blind:
        header = job.profile.header
        known["known.state.kind"] = kind("RECEIVED", header.type, header.mode)
        known["known.profile"] = _profile_document(job.profile)
    changed: Document = {"job.$[known].state": _state(job, written)}
    if job.is_large:
        changed["job.$[known].chunks"] = _tallies(job)
    update: Document = {"$set": changed}
    if change.added:
        update["$push"] = {"job.$[known].runs": {"$each": [_entry_document(entry) for entry in change.added]}}
    return Update({"_id": job_key(job.key)}, update, known)


def _profile_document(profile: Profile) -> Document:
    header, origin = profile.header, profile.origin
    return {
        "total": header.total,
        "created": header.created_us,
        "mode": header.mode,
        "type": header.type,
        "app": origin.app_id,
        "source": origin.root_source,
        "datacenter": origin.datacenter,
    }


def _state(job: Job, written: datetime) -> Document:
    return {
        "kind": kind_of(job),
        "version": job.version,
        "shown": job.shown,
        "tally": astuple(job.whole),
        "written": written,
    }


def _tallies(job: Job) -> list[tuple[Any, ...]]:
    return [astuple(chunk) for chunk in job.chunks]


def chunk_document(change: ChunkChange, written: datetime) -> Document:
    """A chunk that is stored for the first time."""
    return {
        "_id": chunk_key(change.key, change.block.number),
        "version": change.block.version,
        "size": len(change.block.letters),
        "runs": [_entry_document(entry) for entry in change.added],
        "written": written,
    }


def chunk_update(change: ChunkChange, written: datetime) -> Update:
    """Likewise of a chunk: there are far fewer, so the condition stands where one looks for it."""
    where = {"_id": chunk_key(change.key, change.block.number), "version": change.expected}
    added = {"runs": {"$each": [_entry_document(entry) for entry in change.added]}}
    return Update(where, {"$set": {"version": change.block.version, "written": written}, "$push": added})


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
    job, (known,) = job_of(document), document["job"]
    if job.is_large or "runs" not in known:
        return Standing(job, None)
    entries = [_entry(run) for run in known["runs"]]
    return Standing(job, block_of(0, 0, job.profile.total, version=job.version, entries=entries))


def job_of(document: Mapping[str, Any]) -> Job:
    """A stored job without its entries."""
    (known,) = document["job"]
    chunks = tuple(Tally(*chunk) for chunk in known.get("chunks", ()))
    total = known["profile"]["total"]
    if is_large(total) and len(chunks) != count_of(total):
        raise ValueError(f"job {document['_id']} lacks tallies of chunks")
    return _job(document, chunks)


def bare_job_of(document: Mapping[str, Any]) -> Job:
    """A job as summaries and lists need it, read with `BARE_FIELDS`: of a large one, without its chunks' tallies."""
    return _job(document, ())


@lru_cache(maxsize=16_384)
def bare_job_in(document: bytes) -> Job:
    """Such a job, from the document as it came: who asks for a list asks again, and most of its jobs are the same.

    More are kept than the longest list has, since one that does not fit would find none of its own again.
    """
    return bare_job_of(bson.decode(document))


def _job(document: Mapping[str, Any], chunks: tuple[Tally, ...]) -> Job:
    (known,) = document["job"]
    profile, state = known["profile"], known["state"]
    origin = Origin(profile["app"], profile["source"], profile["datacenter"])
    return Job(Profile(header_of(document), origin), state["version"], state["shown"], Tally(*state["tally"]), chunks)


def header_of(document: Mapping[str, Any]) -> Header:
    """The header of a stored job, which was read with `HEADER_FIELDS` at least."""
    profile = document["job"][0]["profile"]
    return Header(key_of(document["_id"]), profile["total"], profile["created"], profile["mode"], profile["type"])


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
