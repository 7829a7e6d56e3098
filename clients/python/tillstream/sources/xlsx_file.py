"""Spreadsheets (XLSX, XLS, ODS): the sheet with the most known headings, the first of those that have as many."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from python_calamine import CalamineError, CalamineWorkbook

from tillstream.sources.columns import ColumnMap
from tillstream.sources.flat import MAX_ROWS_BEFORE_HEADER, MIN_HEADINGS, FlatOptions, Table
from tillstream.sources.records import SourceError


def open_xlsx(path: Path, options: FlatOptions) -> Table:
    """Return the rows of its sheet; raises `SourceError`."""
    try:
        workbook = CalamineWorkbook.from_path(str(path))
        name = _choose_sheet(workbook, ColumnMap(options.kind, options.mapping))
    except (CalamineError, OSError, ValueError) as error:
        raise SourceError(
            f"{path} is not a readable spreadsheet ({error}); save it as XLSX or CSV, and unpack archives"
        ) from None

    def rows() -> Iterator[tuple[int, list[Any]]]:
        # Parsed again each time: kept, a large sheet would take the memory of all its cells.
        sheet = CalamineWorkbook.from_path(str(path)).get_sheet_by_name(name)
        first = (sheet.start or (0, 0))[0]
        start_column = (sheet.start or (0, 0))[1]
        padding = [""] * start_column
        for number, row in enumerate(sheet.iter_rows(), first + 1):
            yield number, [*padding, *row] if padding else row

    findings = [f"XLSX, sheet {name!r}"]
    if len(workbook.sheet_names) > 1:
        findings.append(f"{len(workbook.sheet_names) - 1} other sheets are not read")
    return Table(rows, findings)


def _choose_sheet(workbook: CalamineWorkbook, columns: ColumnMap) -> str:
    if not workbook.sheet_names:
        raise SourceError("the workbook has no sheets")
    best, chosen = MIN_HEADINGS - 1, workbook.sheet_names[0]
    for name in workbook.sheet_names:
        rows = workbook.get_sheet_by_name(name).iter_rows()
        score = max(
            (columns.score(row) for _, row in zip(range(MAX_ROWS_BEFORE_HEADER), rows, strict=False)), default=0
        )
        if score > best:
            best, chosen = score, name
    return chosen
