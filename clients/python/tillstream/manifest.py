"""What an import has done so far, in a SQLite file: a process that is killed at any time goes on where it was."""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from tillstream.errors import TillstreamError
from tillstream.packing import Batch, Unsent

# Of two that open it at once, one may have to wait for the other to give up.
LOCK_TIMEOUT_S = 1.0
PREPARED, ACCEPTED, DONE = 0, 1, 2
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS batches (
    first INTEGER PRIMARY KEY, count INTEGER NOT NULL, key TEXT NOT NULL, state INTEGER NOT NULL,
    body BLOB, job TEXT, succeeded INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS unfinished ON batches (state) WHERE state < 2;
CREATE TABLE IF NOT EXISTS faults (
    record INTEGER NOT NULL, position INTEGER NOT NULL, code TEXT NOT NULL, field TEXT NOT NULL,
    message TEXT NOT NULL, product TEXT, PRIMARY KEY (record, position)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unsent (record INTEGER PRIMARY KEY);
"""


class ManifestLockedError(TillstreamError):
    """Another process imports the same file."""


class ManifestError(TillstreamError):
    """The state of an import cannot be read."""


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A batch: its records, the key that it is sent under, and its job once it is accepted."""

    first: int
    count: int
    key: str
    body: bytes | None
    job: str | None


@dataclass(frozen=True, slots=True)
class RecordFault:
    """One fault of one record of the file."""

    record: int
    code: str
    field: str
    message: str
    product: str | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """How many records are where: prepared or sent, accepted by the server, decided."""

    sent: int
    succeeded: int
    failed: int
    unsent: int

    @property
    def decided(self) -> int:
        """Records whose outcome is known."""
        return self.succeeded + self.failed + self.unsent


class ImportState(Protocol):
    """What an import keeps of its progress, so that any later run goes on where it was; `Manifest` is one.

    Every change is durable when its method returns. The same thread calls all methods.
    """

    @property
    def next_record(self) -> int:
        """The number of the first record that is in no batch yet."""

    def tally(self) -> Tally:
        """Count the records."""

    def unfinished(self) -> tuple[list[StoredBatch], list[StoredBatch]]:
        """Return the batches that may not have been sent, and those whose jobs were not followed to the end."""

    def prepare(self, batch: Batch) -> StoredBatch:
        """Store a batch under an idempotency key of its own, before it is sent."""

    def renew_key(self, batch: StoredBatch) -> StoredBatch:
        """Give a batch another key: the server knows the old one for another request."""

    def add_unsent(self, unsent: Unsent) -> None:
        """Store a record that cannot be sent."""

    def accept(self, batch: StoredBatch, job: str) -> StoredBatch:
        """Store the job that a batch became; its body is no longer needed."""

    def finish(self, batch: StoredBatch, *, succeeded: int, faults: Iterable[RecordFault]) -> None:
        """Store the outcome of a batch."""

    def failed_records(self) -> Iterator[tuple[int, list[RecordFault]]]:
        """Yield the records that failed, in the order of the file, each with its faults."""


class Manifest:
    """The state of one import. Every change is durable when its method returns; the file is locked while it is open.

    Raises `ManifestLockedError` while another process has it open, and `ManifestError` if it cannot be read.
    """

    def __init__(self, path: Path | None) -> None:
        """With None it is temporary."""
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # It holds records until they are accepted.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._database = sqlite3.connect(path or "", timeout=LOCK_TIMEOUT_S, isolation_level=None)
        self._database.create_function("without_positions", 1, without_positions, deterministic=True)
        try:
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            # Sent records must not stay on the disk.
            self._database.execute("PRAGMA secure_delete = ON")
            self._database.executescript(_SCHEMA)
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            self._database.close()
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                message = "this file is being imported by another process; wait until it has ended, or end it"
                raise ManifestLockedError(message) from None
            raise ManifestError(f"the state of the import, {path}, is not usable ({error}); delete it") from None

    def close(self) -> None:
        """Unlock it."""
        self._database.close()

    def clear(self) -> None:
        """Forget all that was done, for another import of the same file; it stays locked."""
        with self._transaction():
            for table in ("meta", "batches", "faults", "unsent"):
                self._database.execute(f"DELETE FROM {table}")  # noqa: S608 - names of this module

    def bind(self, identity: str) -> None:
        """Note what is imported; raises `ManifestError` if it is another file, or the same in another way."""
        if self.get("identity") not in (None, identity):
            raise ManifestError("the state is that of another import: another file, other options or another client")
        self.put("identity", identity)

    def get(self, name: str) -> str | None:
        """Return a stored value."""
        row = self._database.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def put(self, name: str, value: str) -> None:
        """Store a value."""
        self._database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    @property
    def next_record(self) -> int:
        """The number of the first record that is in no batch yet."""
        row = self._database.execute(
            "SELECT max(coalesce((SELECT max(first + count) FROM (SELECT first, count FROM batches ORDER BY first DESC"
            " LIMIT 1)), 0), coalesce((SELECT max(record) + 1 FROM unsent), 0))"
        ).fetchone()
        return int(row[0])

    def prepare(self, batch: Batch) -> StoredBatch:
        """Store a batch under a new idempotency key, before it is sent."""
        key = uuid4().hex
        self._database.execute(
            "INSERT INTO batches (first, count, key, state, body) VALUES (?, ?, ?, ?, ?)",
            (batch.first, batch.count, key, PREPARED, batch.body),
        )
        return StoredBatch(batch.first, batch.count, key, batch.body, None)

    def renew_key(self, batch: StoredBatch) -> StoredBatch:
        """Give a batch another key: the server knows the old one for another request."""
        key = uuid4().hex
        self._database.execute("UPDATE batches SET key = ? WHERE first = ?", (key, batch.first))
        return StoredBatch(batch.first, batch.count, key, batch.body, None)

    def add_unsent(self, unsent: Unsent) -> None:
        """Store a record that cannot be sent."""
        fault = unsent.fault
        with self._transaction():
            self._database.execute("INSERT OR IGNORE INTO unsent VALUES (?)", (unsent.number,))
            self._add_faults([RecordFault(unsent.number, fault.code, fault.field, fault.message)])

    def accept(self, batch: StoredBatch, job: str) -> StoredBatch:
        """Store the job that a batch became; its body is no longer needed."""
        self._database.execute(
            "UPDATE batches SET state = ?, job = ?, body = NULL WHERE first = ?", (ACCEPTED, job, batch.first)
        )
        return StoredBatch(batch.first, batch.count, batch.key, None, job)

    def finish(self, batch: StoredBatch, *, succeeded: int, faults: Iterable[RecordFault]) -> None:
        """Store the outcome of a batch."""
        with self._transaction():
            self._add_faults(faults)
            self._database.execute(
                "UPDATE batches SET state = ?, body = NULL, succeeded = ?, failed = count - ? WHERE first = ?",
                (DONE, succeeded, succeeded, batch.first),
            )

    def unfinished(self) -> tuple[list[StoredBatch], list[StoredBatch]]:
        """Return the batches that may not have been sent, and those whose jobs were not followed to the end."""
        found: dict[int, list[StoredBatch]] = {PREPARED: [], ACCEPTED: []}
        for state, *values in self._database.execute(
            "SELECT state, first, count, key, body, job FROM batches WHERE state < 2 ORDER BY first"
        ):
            found[state].append(StoredBatch(*values))
        return found[PREPARED], found[ACCEPTED]

    def tally(self) -> Tally:
        """Count the records."""
        sent, succeeded, failed = self._database.execute(
            "SELECT coalesce(sum(CASE WHEN state > 0 THEN count END), 0), coalesce(sum(succeeded), 0),"
            " coalesce(sum(failed), 0) FROM batches"
        ).fetchone()
        (unsent,) = self._database.execute("SELECT count(*) FROM unsent").fetchone()
        return Tally(sent, succeeded, failed, unsent)

    def jobs(self) -> list[str]:
        """Return the ids of all jobs."""
        return [
            job for (job,) in self._database.execute("SELECT job FROM batches WHERE job IS NOT NULL ORDER BY first")
        ]

    def fault_table(self) -> list[tuple[str, str, str | None, int]]:
        """Return code, field, product and number of records of each kind of fault, the most frequent first."""
        return self._database.execute(
            "SELECT code, field, product, count(DISTINCT record) AS records FROM"
            " (SELECT code, without_positions(field) AS field, product, record FROM faults)"
            " GROUP BY code, field, product ORDER BY records DESC, code, field, product"
        ).fetchall()

    def unsent_messages(self, limit: int) -> list[str]:
        """Return why the first records that were not sent were not."""
        rows = self._database.execute(
            "SELECT message FROM unsent JOIN faults USING (record) ORDER BY record LIMIT ?", (limit,)
        )
        return [message for (message,) in rows]

    def failed_records(self) -> Iterator[tuple[int, list[RecordFault]]]:
        """Yield the records that failed, in the order of the file, each with its faults."""
        record: int | None = None
        faults: list[RecordFault] = []
        for row in self._database.execute(
            "SELECT record, code, field, message, product FROM faults ORDER BY record, position"
        ):
            if record is not None and row[0] != record:
                yield record, faults
                faults = []
            record = row[0]
            faults.append(RecordFault(*row))
        if record is not None:
            yield record, faults

    def _add_faults(self, faults: Iterable[RecordFault]) -> None:
        positions: dict[int, int] = {}
        rows = []
        for fault in faults:
            position = positions[fault.record] = positions.get(fault.record, -1) + 1
            rows.append((fault.record, position, fault.code, fault.field, fault.message, fault.product))
        self._database.executemany("INSERT OR REPLACE INTO faults VALUES (?, ?, ?, ?, ?, ?)", rows)

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._database)


class _Transaction:
    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        self._database.execute("COMMIT" if kind is None else "ROLLBACK")


def without_positions(field: str) -> str:
    """Return a JSON pointer with `*` for positions: the same fault of any line is one row of a table."""
    return "/".join("*" if part.isdecimal() else part for part in field.split("/"))


def options_digest(options: dict[str, str | None]) -> str:
    """Return options as text that is the same for the same options."""
    return json.dumps(options, sort_keys=True)
