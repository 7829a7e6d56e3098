"""What a file seems to be, and how its owner wants it to be read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from services.portal.domain.columns import ChosenColumn, build_mapping, recall, remember
from services.portal.domain.file_import import ReadOptions
from services.portal.domain.upload import IncompleteFileError, Upload
from services.portal.domain.wording import rephrase
from services.portal.ports import ColumnMemory, FileReader, UploadStore
from tillstream.sources.inspection import Inspection
from tillstream.sources.records import SourceError


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that preparing a file may touch."""

    uploads: UploadStore
    reader: FileReader
    memory: ColumnMemory


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedFile:
    """A file as it would be read; `problem` is what has to be decided before, or why it cannot be read."""

    options: ReadOptions
    inspection: Inspection | None
    problem: str | None

    @property
    def is_ready(self) -> bool:
        """Whether it can be checked and imported."""
        return self.inspection is not None and self.problem is None


async def prepare(upload: Upload, deps: Deps, *, default: ReadOptions) -> PreparedFile:
    """Return the file as it would be read: as its owner has said, else by `default` like the site's earlier files."""
    try:
        if upload.options is not None:
            return _prepared(upload.options, await deps.reader.inspect(upload, upload.options))
        options = default
        inspection = await deps.reader.inspect(upload, options)
        mapping = await _recall(upload, options, inspection, deps)
        if mapping:
            options = replace(options, mapping=mapping)
            inspection = await deps.reader.inspect(upload, options)
        return _prepared(options, inspection)
    except SourceError as error:
        return PreparedFile(options=upload.options or default, inspection=None, problem=str(error))
    except IncompleteFileError:
        return PreparedFile(options=default, inspection=None, problem="the file is gone; upload it again")


async def choose(
    upload: Upload, options: ReadOptions, fields: Mapping[int, str], deps: Deps, *, default: ReadOptions
) -> Sequence[str]:
    """Store how a file is to be read; `fields` has the field of each column by its position.

    Returns the fields that have several columns: nothing is stored then. The columns are remembered for the site.
    """
    try:
        detected = await deps.reader.inspect(upload, options)
    except SourceError:
        # Shown with the file.
        await deps.uploads.set_options(upload, options)
        return []
    if (upload.options or default).kind != options.kind:
        # Other fields: what was chosen before does not hold.
        mapping = await _recall(upload, options, detected, deps)
        await deps.uploads.set_options(upload, replace(options, mapping=mapping))
        return []
    columns = [
        ChosenColumn(heading.name, fields.get(heading.position, heading.field or ""), heading.field)
        for heading in detected.headings
    ]
    mapping, doubled = build_mapping(columns)
    if doubled:
        return doubled
    by_name = {column.name: column.detected for column in columns}
    needed = {field: name for field, name in mapping.items() if by_name.get(name) != field}
    await deps.uploads.set_options(upload, replace(options, mapping=needed))
    if columns:
        await deps.memory.save(upload.site, options.kind, remember(columns))
    return []


async def _recall(upload: Upload, options: ReadOptions, inspection: Inspection, deps: Deps) -> dict[str, str]:
    remembered = await deps.memory.load(upload.site, options.kind)
    headings = [heading.name for heading in inspection.headings]
    detected = {heading.name: heading.field for heading in inspection.headings if heading.field}
    return recall(headings, remembered, detected)


def _prepared(options: ReadOptions, inspection: Inspection) -> PreparedFile:
    problem = None if inspection.problem is None else rephrase(inspection.problem)
    return PreparedFile(options=options, inspection=inspection, problem=problem)
