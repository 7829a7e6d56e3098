"""The state of an import as the client library's importer, which runs in a thread, asks for it."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, TypeVar

from services.portal.adapters.batch_log import MongoBatchLog
from services.portal.domain.file_import import FileImport
from tillstream.manifest import RecordFault, StoredBatch, Tally
from tillstream.packing import Batch, Unsent

T = TypeVar("T")


class MongoImportState:
    """An `ImportState` of the client library. Its methods are called from another thread than the event loop's.

    They raise `UnavailableError`, and `PlaceTakenError` if another worker goes on with the import.
    """

    def __init__(
        self,
        run: FileImport,
        log: MongoBatchLog,
        loop: asyncio.AbstractEventLoop,
        *,
        on_job: Callable[[str], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        """`on_job` is awaited before the job of a batch is stored."""
        self._run = run
        self._log = log
        self._loop = loop
        self._on_job = on_job

    @property
    def next_record(self) -> int:
        """The number of the first record that is in no batch yet."""
        return self._call(self._log.next_record(self._run.id))

    def tally(self) -> Tally:
        """Count the records."""
        counts = self._call(self._log.counts(self._run.id))
        return Tally(counts.sent, counts.succeeded, counts.failed, counts.unsent)

    def unfinished(self) -> tuple[list[StoredBatch], list[StoredBatch]]:
        """Return the batches that may not have been sent, and those whose jobs have not ended."""
        return self._call(self._log.unfinished(self._run.id))

    def prepare(self, batch: Batch) -> StoredBatch:
        """Store a batch before it is sent."""
        return self._call(self._log.prepare(self._run, batch.first, batch.count, batch.body))

    def renew_key(self, batch: StoredBatch) -> StoredBatch:
        """Give a batch another key."""
        return self._call(self._log.renew_key(self._run, batch))

    def add_unsent(self, unsent: Unsent) -> None:
        """Store a record that cannot be sent."""
        fault = unsent.fault
        self._call(self._log.add_unsent(self._run, RecordFault(unsent.number, fault.code, fault.field, fault.message)))

    def accept(self, batch: StoredBatch, job: str) -> StoredBatch:
        """Store the job that a batch became."""
        if self._on_job is not None:
            self._call(self._on_job(job))
        return self._call(self._log.accept(self._run, batch, job))

    def finish(self, batch: StoredBatch, *, succeeded: int, faults: Iterable[RecordFault]) -> None:
        """Store the outcome of a batch."""
        self._call(self._log.finish(self._run, batch, succeeded, faults))

    def failed_records(self) -> Iterator[tuple[int, list[RecordFault]]]:
        """Yield the records that failed, in the order of the file, each with its faults."""
        found = self._log.failed_records(self._run.id)
        while (record := self._call(_next_or_none(found))) is not None:
            yield record

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


async def _next_or_none(found: Any) -> tuple[int, list[RecordFault]] | None:
    return await anext(found, None)
