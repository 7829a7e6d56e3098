"""Records of an import as files."""

import asyncio
import csv
import io
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

import msgspec
from aiohttp import web

from services.portal.domain.jobs import JobView
from services.portal.domain.record_table import columns, describe_faults, neutralise, rows
from services.portal.http.file_responses import file_headers, send_file
from services.portal.http.jobs import BASE, SCOPE, JobPages, parse_outcome
from services.portal.http.pages import Pages
from services.portal.http.visits import PageError, Visit
from tillstream.models import Outcome, RecordResult
from tillstream.sources.columns import ERRORS_COLUMN
from tillstream.xlsx import MAX_CELL_CHARACTERS, write_sheet

READ_ROWS = 1_000
MAX_SHEET_ROWS = 100_000
CHUNK_ROWS = 500
# It tells spreadsheets that the file is UTF-8.
_BYTE_ORDER_MARK = "\ufeff"


class DownloadPages:
    """Files of records."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes."""
        return [self._pages.get(BASE + "/{jobId}/records.{format:csv|ndjson|xlsx}", self.download, scope=SCOPE)]

    async def download(self, visit: Visit) -> web.StreamResponse:
        """The records of an outcome; failed ones as they were sent, with their errors."""
        job = await JobPages.find_job(visit)
        format_ = visit.request.match_info["format"]
        outcome = parse_outcome(visit.query) or "failed"
        records = visit.client.jobs.records(job.id, outcome=outcome, rows=READ_ROWS)
        name = f"{outcome}-{job.short_id}.{format_}"
        if format_ == "xlsx":
            return web.Response(body=await _to_sheet(records, job, outcome), headers=file_headers(name))
        return await send_file(
            visit, name, _to_csv(records, job, outcome) if format_ == "csv" else _to_ndjson(records, outcome)
        )


def _kind(job: JobView) -> str:
    return job.kind.lower()


async def _to_csv(records: AsyncIterator[RecordResult], job: JobView, outcome: Outcome) -> AsyncGenerator[bytes]:
    headings = columns(_kind(job), has_records=outcome == "failed")
    text = io.StringIO()
    writer = csv.writer(text)
    text.write(_BYTE_ORDER_MARK)
    writer.writerow(headings)
    written = 0
    async for record in records:
        for row in rows(record, _kind(job), has_records=outcome == "failed"):
            writer.writerow(neutralise(row, headings))
            written += 1
        if written >= CHUNK_ROWS:
            yield text.getvalue().encode("utf-8", "replace")
            text.seek(0)
            text.truncate()
            written = 0
    yield text.getvalue().encode("utf-8", "replace")


async def _to_ndjson(records: AsyncIterator[RecordResult], outcome: Outcome) -> AsyncGenerator[bytes]:
    lines: list[bytes] = []
    async for record in records:
        if outcome == "failed" and isinstance(record.record, dict):
            shown: dict[str, Any] = {**record.record, ERRORS_COLUMN: describe_faults(record)}
        else:
            shown = {
                "index": record.index,
                "id": record.id,
                "orderId": record.order_id,
                "returnId": record.return_id,
                "userId": record.user_id,
                "outcome": record.outcome,
                ERRORS_COLUMN: describe_faults(record),
            }
            shown = {name: value for name, value in shown.items() if value is not None}
        lines.append(msgspec.json.encode(shown) + b"\n")
        if len(lines) >= CHUNK_ROWS:
            yield b"".join(lines)
            lines.clear()
    yield b"".join(lines)


async def _to_sheet(records: AsyncIterator[RecordResult], job: JobView, outcome: Outcome) -> bytes:
    table: list[Sequence[Any]] = []
    async for record in records:
        table += rows(record, _kind(job), has_records=outcome == "failed")
        if len(table) > MAX_SHEET_ROWS:
            back = ("Back to the import", f"{BASE}/{job.id}")
            raise PageError(400, "Too many rows for a spreadsheet", "Download them as CSV instead.", back=back)
    headings = columns(_kind(job), has_records=outcome == "failed")
    return await asyncio.to_thread(_write_sheet, headings, table)


def _write_sheet(headings: Sequence[str], table: Sequence[Sequence[Any]]) -> bytes:
    # Its cells are texts, never formulas.
    buffer = io.BytesIO()
    with write_sheet(buffer, "records", columns=len(headings)) as sheet:
        sheet.write_row(headings)
        for row in table:
            sheet.write_row([cell[:MAX_CELL_CHARACTERS] if isinstance(cell, str) else cell for cell in row])
    return buffer.getvalue()
