"""Reads uploaded files with the client library's readers."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

from services.portal.adapters.batch_log import MongoBatchLog
from services.portal.adapters.import_state import MongoImportState
from services.portal.adapters.spool import LocalSpool
from services.portal.adapters.workbook import check_workbook
from services.portal.domain.file_import import FileImport, ReadOptions
from services.portal.domain.upload import Upload
from services.portal.domain.wording import rephrase
from tillstream.report import FLAT_FORMATS, JSON_FORMATS, write_failed
from tillstream.sources.flat import FlatOptions
from tillstream.sources.inspection import Inspection, inspect_file
from tillstream.sources.open import open_source
from tillstream.sources.records import Source, SourceError


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


def read_source(path: Path, options: ReadOptions) -> Source:
    """Return a file as its owner wants it to be read; raises `SourceError`."""
    check_workbook(path)
    return open_source(path, flat_options(options), format_=options.format)


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
        source = read_source(path, options)
        write_failed(target, source, state, delimiter=getattr(source, "delimiter", None) or ",")
    except SourceError as error:
        raise SourceError(describe(error, path)) from None
