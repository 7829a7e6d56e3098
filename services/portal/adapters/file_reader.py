"""Reads uploaded files with the client library's readers."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from services.portal.adapters.batch_log import MongoBatchLog
from services.portal.adapters.import_state import MongoImportState
from services.portal.adapters.spool import LocalSpool
from services.portal.adapters.workbook import check_workbook
from services.portal.domain.file_import import FileImport, ReadOptions
from services.portal.domain.record_table import restore
from services.portal.domain.upload import Upload
from services.portal.domain.wording import rephrase
from tillstream.encoding import encode_records
from tillstream.report import FLAT_FORMATS, JSON_FORMATS, write_failed
from tillstream.sources.flat import FlatOptions
from tillstream.sources.inspection import Inspection, inspect_file
from tillstream.sources.open import open_source
from tillstream.sources.records import Source, SourceError, SourceRecord

_DECODER = msgspec.json.Decoder(float_hook=Decimal)


class LocalFileReader:
    """The `FileReader` of files in the spool."""

    def __init__(self, spool: LocalSpool, log: MongoBatchLog) -> None:
        self._spool = spool
        self._log = log

    async def inspect(self, upload: Upload, options: ReadOptions) -> Inspection:
        async with self._spool.open(upload) as path:
            return await asyncio.to_thread(_inspect, path, options)

    @asynccontextmanager
    async def failed_records(self, run: FileImport, upload: Upload, suffix: str) -> AsyncIterator[Path]:
        if f".{suffix}" not in (*FLAT_FORMATS, *JSON_FORMATS):
            raise SourceError(f"failed records cannot be saved as {suffix}")
        state = MongoImportState(run, self._log, asyncio.get_running_loop())
        async with self._spool.open(upload) as path:
            with tempfile.TemporaryDirectory(dir=path.parent) as directory:
                target = Path(directory) / f"failed.{suffix}"
                await asyncio.to_thread(_write_failed, target, path, run.options, state)
                yield target


def read_source(path: Path, options: ReadOptions, *, is_mended: bool) -> Source:
    """Return a file as its owner wants it to be read; raises `SourceError`.

    A mended file is one of failed records, as the portal has written it.
    """
    check_workbook(path)
    source = open_source(path, flat_options(options), format_=options.format)
    # Only CSV has signs that keep a spreadsheet from taking texts for formulas.
    if is_mended and getattr(source, "delimiter", None) is not None:
        return _RestoredSource(source)
    return source


class _RestoredSource:
    """A file whose texts are read as they were before `neutralise`."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def records(self) -> Iterator[SourceRecord]:
        """Yield the records in the order of the file."""
        for record in self._source.records():
            if b"\"'" in record.json:
                restored = restore(_DECODER.decode(record.json))
                yield replace(record, json=encode_records(restored))
            else:
                yield record


def flat_options(options: ReadOptions) -> FlatOptions:
    """Return the options as the client library takes them."""
    zone = None if options.zone is None else ZoneInfo(options.zone)
    return FlatOptions(options.kind, options.mapping, options.decimal, zone, options.delimiter, options.encoding)


def describe(error: SourceError, path: Path) -> str:
    """Return what is wrong with a file, by its name and in the words of a page."""
    return rephrase(str(error).replace(str(path), path.name))


def _inspect(path: Path, options: ReadOptions) -> Inspection:
    try:
        check_workbook(path)
        return inspect_file(path, flat_options(options), format_=options.format)
    except SourceError as error:
        raise SourceError(describe(error, path)) from None


def _write_failed(target: Path, path: Path, options: ReadOptions, state: MongoImportState) -> None:
    try:
        # Its rows are copied as they are.
        source = read_source(path, options, is_mended=False)
        write_failed(target, source, state, delimiter=getattr(source, "delimiter", None) or ",")
    except SourceError as error:
        raise SourceError(describe(error, path)) from None
