"""Sessions of the simulated MongoDB client: transactions, and reads that see one state."""

import asyncio
from collections.abc import Mapping
from typing import Any

from pymongo.errors import OperationFailure

from tests.simulation.documents import Document
from tests.simulation.replica_set import Change, LockedError, ReplicaSet

# Then the server aborts a transaction whose client has died.
LIFETIME_S = 5.0
WRITE_CONFLICT, NO_SUCH_TRANSACTION = 112, 251


def transient(message: str, code: int) -> OperationFailure:
    """The error of a transaction that was aborted and may be tried again."""
    return OperationFailure(message, code, {"code": code, "errorLabels": ["TransientTransactionError"]})


class SimulatedSession:
    """The state that a client's reads see, and the writes of its transaction. Writes as `ReplicaSet` does."""

    def __init__(self, client: Any, *, is_snapshot: bool) -> None:
        self._client = client
        self._server: ReplicaSet = client.cluster
        self._is_snapshot = is_snapshot
        # Set by the first operation.
        self._base: Mapping[str, Mapping[Any, Document]] | None = None
        self._changes: dict[tuple[str, Any], Document | None] = {}
        self._term = 0
        self._expires_at = 0.0

    async def start_transaction(self, **_options: Any) -> None:
        self._base = None
        self._changes.clear()

    def open(self) -> "SimulatedSession":
        """Note what the first operation sees; raises the error of a transaction that has ended."""
        if self._base is None:
            self._base = {
                name: dict(each.majority if self._is_snapshot else each.latest)
                for name, each in self._server.collections.items()
            }
            self._term = self._server.term
            self._expires_at = asyncio.get_running_loop().time() + LIFETIME_S
        elif not self._is_snapshot and self.has_ended():
            raise transient("transaction has been aborted", NO_SUCH_TRANSACTION)
        return self

    def has_ended(self) -> bool:
        """Whether the server has aborted it: it took too long, or another primary was elected."""
        return self._term != self._server.term or asyncio.get_running_loop().time() >= self._expires_at

    def latest(self, name: str) -> Mapping[Any, Document]:
        """The documents of a collection with the transaction's own changes."""
        assert self._base is not None
        found = dict(self._base.get(name, {}))
        for (collection, key), after in self._changes.items():
            if collection != name:
                continue
            if after is None:
                found.pop(key, None)
            else:
                found[key] = after
        return found

    def write(self, name: str, key: Any, after: Document | None) -> None:
        """Change one document; raises the error of a conflict, which aborts the transaction, or `DuplicateError`."""
        assert self._base is not None
        documents = self._server.documents(name)
        try:
            self._server.lock(name, key, self)
        except LockedError:
            self.abort()
            raise transient("WriteConflict", WRITE_CONFLICT) from None
        if documents.latest.get(key) is not self._base.get(name, {}).get(key):
            self.abort()
            raise transient("WriteConflict", WRITE_CONFLICT)
        if after is not None:
            documents.check_unique(key, after)
        self._changes[name, key] = after

    async def commit_transaction(self) -> None:
        if self._base is None:
            return
        changes = [Change(name, key, after) for (name, key), after in self._changes.items()]
        done_at: tuple[int, int] | None = None

        async def commit() -> None:
            nonlocal done_at
            if done_at is None or not self._server.has_kept(*done_at):
                if done_at is not None or self.has_ended():
                    self.abort()
                    raise transient("transaction has been aborted", NO_SUCH_TRANSACTION)
                self.abort()
                if changes:
                    self._server.write_all(changes)
                done_at = self._server.term, self._server.last_time
            # Also of what it has only read.
            await self._server.wait_for_majority()

        await self._client.call(commit, is_write=True)

    def abort(self) -> None:
        """Give up locks and changes."""
        self._server.unlock(self)
        self._changes.clear()

    async def end_session(self) -> None:
        self.abort()
