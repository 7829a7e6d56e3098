"""What the commands print: tables for people, JSON for programs, progress on the standard error stream."""

import os
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from tillstream.errors import ApiError
from tillstream.importer import Progress

_BAR = 30
_PLAIN_INTERVAL_S = 5.0
_JSON_INTERVAL_S = 1.0


def print_json(value: Any) -> None:
    """Write one line of JSON to the standard output."""
    click.echo(msgspec.json.encode(value).decode())


def print_table(headings: Sequence[str], rows: Iterable[Sequence[Any]], *, err: bool = False) -> None:
    """Write a table; numbers are aligned to the right."""
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not texts:
        click.echo("nothing found", err=True)
        return
    widths = [max(len(row[column]) for row in [list(headings), *texts]) for column in range(len(headings))]
    numeric = [
        all(row[column].replace(".", "", 1).lstrip("-").isdigit() for row in texts) for column in range(len(headings))
    ]

    def line(cells: Sequence[str]) -> str:
        aligned = (
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(cells, widths, numeric, strict=True)
        )
        return "  ".join(aligned).rstrip()

    click.echo(click.style(line(list(headings)), bold=True), err=err)
    for row in texts:
        click.echo(line(row), err=err)


def write_whole(path: Path, text: str) -> None:
    """Replace the file in one step, readable by its owner only: whenever it is read, it is whole."""
    # The same name each time: what a killed run has left is replaced, too.
    temporary = path.with_name(f".{path.name}.part")
    temporary.unlink(missing_ok=True)
    flags = os.O_CREAT | os.O_WRONLY | os.O_EXCL
    with os.fdopen(os.open(temporary, flags, 0o600), "w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def plural(number: int, noun: str) -> str:
    """Return `1 record` or `2 records`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


class ProgressDisplay:
    """Shows progress: a bar on a terminal, a line every few seconds elsewhere, events with `--json`."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._is_terminal = sys.stderr.isatty() and not as_json
        self._shown_at = 0.0
        self._width = 0

    def show(self, progress: Progress) -> None:
        """Show it, if it is time."""
        now = time.monotonic()
        interval = _JSON_INTERVAL_S if self._as_json else 0.1 if self._is_terminal else _PLAIN_INTERVAL_S
        if now - self._shown_at < interval:
            return
        self._shown_at = now
        if self._as_json:
            print_json({"event": "progress", **progress_fields(progress)})
        elif self._is_terminal:
            self._redraw(progress)
        else:
            click.echo(describe(progress), err=True)

    def end(self, progress: Progress | None) -> None:
        """Leave the last state."""
        if progress is not None and self._is_terminal:
            self._redraw(progress)
            click.echo("", err=True)
        elif progress is not None and not self._as_json:
            click.echo(describe(progress), err=True)

    def _redraw(self, progress: Progress) -> None:
        columns = max(shutil.get_terminal_size().columns - 1, 20)
        described = describe(progress)
        width = min(_BAR, columns - len(described) - 1)
        filled = width * progress.tally.decided // max(progress.total, 1)
        sent = width * (progress.tally.sent + progress.tally.unsent) // max(progress.total, 1)
        bar = "█" * filled + "▒" * (sent - filled) + "░" * (width - max(sent, filled))
        text = f"{bar} {described}".lstrip()[:columns]
        click.echo("\r" + text.ljust(self._width), err=True, nl=False)
        self._width = len(text)


def describe(progress: Progress) -> str:
    """Return progress as one line."""
    tally = progress.tally
    share = 100 * tally.decided // max(progress.total, 1)
    parts = [
        f"{share}%",
        f"sent {tally.sent:,} of {progress.total:,}",
        f"accepted {tally.succeeded:,}",
        f"failed {tally.failed + tally.unsent:,}",
    ]
    if progress.is_done:
        return "  ".join(parts)
    if progress.waits_for is not None:
        return "  ".join([*parts, f"waiting: {_reason(progress)}"])
    if progress.records_per_s >= 1:
        parts.append(f"{progress.records_per_s:,.0f}/s")
    if progress.left_s is not None:
        minutes, seconds = divmod(int(progress.left_s), 60)
        parts.append(f"{minutes}:{seconds:02} left")
    return "  ".join(parts)


def _reason(progress: Progress) -> str | None:
    failure = progress.waits_for
    if failure is None:
        return None
    return failure.code if isinstance(failure, ApiError) else "no response"


def progress_fields(progress: Progress) -> dict[str, Any]:
    """Return progress as the fields of an event."""
    tally = progress.tally
    return {
        "total": progress.total,
        "sent": tally.sent,
        "accepted": tally.succeeded,
        "failed": tally.failed + tally.unsent,
        "recordsPerSecond": round(progress.records_per_s, 1),
        "secondsLeft": None if progress.left_s is None else round(progress.left_s),
        "throttled": progress.throttled,
        "waitingFor": _reason(progress),
    }
