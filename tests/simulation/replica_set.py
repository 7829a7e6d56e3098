"""A simulated MongoDB replica set: a primary, and what a majority of the members has.

Every write changes the primary at once and reaches a majority a little later. When the primary steps down, the next
one has all that a majority had, and perhaps more; the rest is rolled back. Reads with concern "majority" see the
majority's data, all others the primary's.
"""

import asyncio
import contextvars
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import bson
from pymongo.errors import NotPrimaryError

from tests.simulation.documents import Document, order_key, values_at

REPLICATION_S = (0.0005, 0.004)


@dataclass(frozen=True)
class Index:
    """An index; of interest if it is unique."""

    name: str
    keys: tuple[tuple[str, int], ...]
    unique: bool = False
    sparse: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


class DuplicateError(Exception):
    """A unique index has the key already."""

    def __init__(self, index: Index) -> None:
        super().__init__(index.name)
        self.index = index


class LockedError(Exception):
    """An open transaction has changed the document."""


class Owner(Protocol):
    """A transaction."""

    def has_ended(self) -> bool:
        """Whether it holds nothing any more."""


class Change(NamedTuple):
    """A document as a write leaves it; None if it is deleted."""

    collection: str
    key: Any
    after: Document | None


ID_INDEX = Index("_id_", (("_id", 1),), unique=True)


class Documents:
    """A collection: the primary's documents, those of a majority, and the entries of unique indexes."""

    def __init__(self) -> None:
        self.latest: dict[Any, Document] = {}
        self.majority: dict[Any, Document] = {}
        self.indexes: dict[str, Index] = {}
        self._keys: dict[str, dict[Any, Any]] = {}
        self.watchers: list[asyncio.Event] = []
        # Keys of documents that changed, in the order in which a majority got them.
        self.changes: list[tuple[str, Any]] = []

    def create_index(self, index: Index) -> None:
        """Add the index; raises `DuplicateError`."""
        if index.name in self.indexes:
            return
        if index.unique:
            entries: dict[Any, Any] = {}
            for key, document in self.latest.items():
                entry = index_entry(index, document)
                if entry is not None:
                    if entry in entries:
                        raise DuplicateError(index)
                    entries[entry] = key
            self._keys[index.name] = entries
        self.indexes[index.name] = index

    def check_unique(self, key: Any, document: Document) -> None:
        """Raise `DuplicateError` if another document has one of the document's unique keys."""
        for name, entries in self._keys.items():
            entry = index_entry(self.indexes[name], document)
            if entry is not None and entries.get(entry, key) != key:
                raise DuplicateError(self.indexes[name])

    def set(self, key: Any, document: Document | None) -> None:
        """Replace, add or remove the primary's document."""
        for name, entries in self._keys.items():
            old = self.latest.get(key)
            if old is not None and (entry := index_entry(self.indexes[name], old)) is not None:
                entries.pop(entry, None)
            if document is not None and (entry := index_entry(self.indexes[name], document)) is not None:
                entries[entry] = key
        if document is None:
            self.latest.pop(key, None)
        else:
            self.latest[key] = document


def index_entry(index: Index, document: Document) -> Any:
    """The document's entry in a unique index; None if it has none."""
    found = [values_at(document, name) for name, _ in index.keys]
    if index.sparse and not any(found):
        return None
    return tuple(order_key(values[0] if values else None) for values in found)


@dataclass
class _Write:
    """A write that a majority does not have yet."""

    time: int
    collection: str
    key: Any
    before: Document | None
    after: Document | None


class ReplicaSet:
    """All databases' collections by name, and the replication between the members."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.collections: dict[str, Documents] = {}
        # The time of the last write, and of the last one that a majority has.
        self.last_time = self.majority_time = 0
        self._pending: list[_Write] = []
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self.term = 0
        # By term, the time of the last write that the next primary has.
        self._kept: dict[int, int] = {}
        # Until when there is no primary, and until when no secondary replicates.
        self.no_primary_until = self.lagging_until = 0.0
        self.rolled_back = 0
        self._locks: dict[tuple[str, Any], Owner] = {}
        # Called after the next write to a collection, once.
        self.traps: dict[str, Callable[[], None]] = {}

    def documents(self, name: str) -> Documents:
        """Return the collection, empty if nothing was written to it."""
        return self.collections.setdefault(name, Documents())

    @property
    def has_primary(self) -> bool:
        """Whether a member accepts writes."""
        return asyncio.get_running_loop().time() >= self.no_primary_until

    def latest(self, name: str) -> Mapping[Any, Document]:
        """The primary's documents of a collection, by key."""
        return self.documents(name).latest

    def write(self, name: str, key: Any, after: Document | None) -> None:
        """Change one document of the primary; raises `DuplicateError`, `LockedError`."""
        if self._owner_of(name, key) is not None:
            raise LockedError
        if after is not None:
            self.documents(name).check_unique(key, after)
        self.write_all([Change(name, key, after)])

    def write_all(self, changes: Sequence["Change"]) -> None:
        """Change documents of the primary; all of them reach a majority, or are rolled back."""
        self.last_time += 1
        for name, key, after in changes:
            documents = self.documents(name)
            self._pending.append(_Write(self.last_time, name, key, documents.latest.get(key), after))
            documents.set(key, after)
        self._replicate()
        for name in sorted({change.collection for change in changes} & set(self.traps)):
            self.traps.pop(name)()

    def lock(self, name: str, key: Any, owner: "Owner") -> None:
        """Reserve a document for a transaction; raises `LockedError` if another one has changed it."""
        if self._owner_of(name, key) not in (None, owner):
            raise LockedError
        self._locks[name, key] = owner

    def _owner_of(self, name: str, key: Any) -> "Owner | None":
        owner = self._locks.get((name, key))
        if owner is not None and owner.has_ended():
            self.unlock(owner)
            return None
        return owner

    def unlock(self, owner: "Owner") -> None:
        """Release everything that the transaction has reserved."""
        self._locks = {where: one for where, one in self._locks.items() if one is not owner}

    def _replicate(self) -> None:
        loop, (low, high) = asyncio.get_running_loop(), REPLICATION_S
        at = max(loop.time(), self.lagging_until) + low + (high - low) * self._rng.random()
        # In no process's context: a write goes on when its client has died.
        loop.call_at(at, self._majority_reached, self.last_time, self.term, context=contextvars.Context())

    def _majority_reached(self, time: int, term: int) -> None:
        if term != self.term:
            return
        now = asyncio.get_running_loop().time()
        if now < self.lagging_until:
            # The secondaries have fallen behind since.
            asyncio.get_running_loop().call_at(self.lagging_until + 0.001, self._majority_reached, time, term)
            return
        self.majority_time = max(self.majority_time, time)
        while self._pending and self._pending[0].time <= self.majority_time:
            self._commit(self._pending.pop(0))
        self._wake()

    def _commit(self, write: _Write) -> None:
        documents = self.documents(write.collection)
        if write.after is None:
            documents.majority.pop(write.key, None)
            kind = "delete"
        else:
            kind = "update" if write.key in documents.majority else "insert"
            documents.majority[write.key] = write.after
        documents.changes.append((kind, write.key))
        for event in documents.watchers:
            event.set()

    def _wake(self) -> None:
        waiting, self._waiters = self._waiters, []
        for time, future in waiting:
            if future.done():
                continue
            if time <= self.majority_time:
                future.set_result(None)
            else:
                self._waiters.append((time, future))

    async def wait_for_majority(self) -> None:
        """Return when a majority has everything that the primary has now; raises `NotPrimaryError`."""
        time = self.last_time
        if time <= self.majority_time:
            return
        future = asyncio.get_running_loop().create_future()
        self._waiters.append((time, future))
        await future

    def step_down(self, *, for_s: float, keeps: int | None = None) -> None:
        """Elect another member. It lacks the last writes that no majority has: all but `keeps`, or a random number."""
        loop = asyncio.get_running_loop()
        self.no_primary_until = loop.time() + for_s
        kept = self._rng.randint(0, len(self._pending)) if keeps is None else min(keeps, len(self._pending))
        while 0 < kept < len(self._pending) and self._pending[kept].time == self._pending[kept - 1].time:
            kept += 1
        self._kept[self.term] = self._pending[kept - 1].time if kept else self.majority_time
        if kept == len(self._pending):
            self._kept[self.term] = self.last_time
        self.term += 1
        for write in reversed(self._pending[kept:]):
            self.documents(write.collection).set(write.key, write.before)
            self.rolled_back += 1
        del self._pending[kept:]
        waiting, self._waiters = self._waiters, []
        for _, future in waiting:
            if not future.done():
                future.set_exception(not_primary())
        # The new primary brings the others up to date.
        self.last_time += 1
        self._replicate()

    def has_kept(self, term: int, time: int) -> bool:
        """Whether no election since that term has rolled back a write of that time."""
        return all(time <= kept for past, kept in self._kept.items() if past >= term)

    def lag(self, *, for_s: float) -> None:
        """Let no majority get anything for so long."""
        self.lagging_until = asyncio.get_running_loop().time() + for_s

    def scan(self, name: str, *, majority: bool) -> Iterable[Document]:
        """All documents in the order of their insertion."""
        documents = self.documents(name)
        return (documents.majority if majority else documents.latest).values()

    def settled(self, name: str) -> Sequence[Document]:
        """What a majority has, for checks."""
        return list(self.documents(name).majority.values())


def not_primary() -> NotPrimaryError:
    """The error of a member that steps down."""
    return NotPrimaryError("not primary", {"code": 10107, "errmsg": "not primary", "ok": 0})


def encode(document: Any, options: Any) -> Document:
    """The document as the server stores it."""
    stored: Document = bson.decode(bson.encode(document, codec_options=options), codec_options=SERVER_OPTIONS)
    return stored


SERVER_OPTIONS: Any = bson.codec_options.CodecOptions(tz_aware=True)
