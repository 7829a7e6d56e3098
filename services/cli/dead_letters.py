"""`dead-letters`: lists, shows and replays records that could not be processed."""

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Column, Table

from services.chassis.avro.record_decoder import DecodedRecord, decode_record, escape_bytes
from services.chassis.kafka import dead_letters as dlq
from services.chassis.runtime.settings import load
from services.cli.runtime import command, fetch_schemas, print_table, ready_producer
from services.cli.settings import CliSettings
from services.dead_letters.stored_dead_letters import (
    DLQ_TOPICS,
    DeadLetterFilter,
    StoredDeadLetter,
    find_dead_letters,
    replay,
)

commands = typer.Typer(
    no_args_is_help=True, help="Dead letters, the records that could not be processed: list, show and replay them."
)


def _check_topics(topics: list[str] | None) -> list[str] | None:
    """Refuse unknown topics: a misspelled one would look like a topic without dead letters."""
    known = [name.removesuffix(dlq.SUFFIX) for name in DLQ_TOPICS]
    for topic in topics or []:
        if topic not in known:
            raise typer.BadParameter(f"{topic} has no dead letters; topics that have: {', '.join(known)}")
    return topics


Names = Annotated[list[str] | None, typer.Argument(help="Dead letters by name, as `list` shows them.")]
Reasons = Annotated[list[str] | None, typer.Option("--reason", help="Only this reason; may be repeated.")]
Topics = Annotated[
    list[str] | None,
    typer.Option("--topic", callback=_check_topics, help="Only records of this topic; may be repeated."),
]
Since = Annotated[str | None, typer.Option(help="Only at or after this time: 2026-01-31T08:00, or 2h, 3d ago.")]
Until = Annotated[str | None, typer.Option(help="Only before this time.")]

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@commands.command("list")
@command
async def list_dead_letters(
    reason: Reasons = None,
    topic: Topics = None,
    since: Since = None,
    until: Until = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
) -> None:
    """List dead letters, oldest first."""
    letters = await find_dead_letters(load(CliSettings), _build_filter(reason, topic, since, until))
    if as_json:
        for letter in letters:
            typer.echo(json.dumps(_to_row(letter)))
        return
    # Other commands take the name as an argument: keep it in one piece on a narrow screen.
    table = Table(Column("name", no_wrap=True), "failed at", "reason", "detail", "source", "attempts", "state")
    for letter in letters:
        table.add_row(*(escape(str(cell)) for cell in _to_row(letter).values()))
    print_table(table)
    typer.echo(f"{len(letters)} dead letters")


def _to_row(letter: StoredDeadLetter) -> dict[str, Any]:
    return {
        "name": letter.name,
        "failedAt": datetime.fromtimestamp(letter.failed_at_ms / 1000, UTC).isoformat(timespec="seconds"),
        "reason": letter.header(dlq.REASON),
        "detail": letter.header(dlq.DETAIL),
        "source": letter.source,
        "attempts": letter.header(dlq.ATTEMPTS),
        "state": str(letter.state),
    }


@commands.command("show")
@command
async def show(name: Annotated[str, typer.Argument(help="The dead letter's name, as `list` shows it.")]) -> None:
    """Show one dead letter: its source, its headers and, if it can be decoded, its record."""
    settings = load(CliSettings)
    letters = await find_dead_letters(settings, DeadLetterFilter(names=frozenset({name})))
    if not letters:
        raise ValueError(f"there is no dead letter {name}")
    (letter,) = letters
    for title, cell in _to_row(letter).items():
        typer.echo(f"{title + ':':<11}{cell}")
    typer.echo(f"{'key:':<11}{escape_bytes(letter.key)}")
    for header, content in letter.headers:
        if not header.startswith(dlq.PREFIX):
            typer.echo(f"{'header:':<11}{escape_bytes(header.encode())} = {escape_bytes(content)}")
    record = decode_record(letter.value, letter.headers, await fetch_schemas(settings))
    typer.echo(f"{'value:':<11}{_describe_size(letter)}")
    if isinstance(record, DecodedRecord):
        typer.echo(record.text)
    else:
        typer.echo(f"{record}\n{escape_bytes((letter.value or b'')[:512])}")


def _describe_size(letter: StoredDeadLetter) -> str:
    size = "none" if letter.value is None else f"{len(letter.value)} bytes"
    return size if letter.is_whole else f"the first {size} of a record of {letter.header(dlq.TRUNCATED)}"


@commands.command("replay")
@command
async def replay_dead_letters(
    names: Names = None,
    reason: Reasons = None,
    topic: Topics = None,
    since: Since = None,
    until: Until = None,
    *,
    replay_all: Annotated[bool, typer.Option("--all", help="All dead letters, if nothing else selects any.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print how many would be replayed.")] = False,
) -> None:
    """Send records back to the topics they came from: each once, however often this command runs.

    The consumers process them again. Their outputs appear, but a job that has ended stays as it ended.
    """
    letter_filter = _build_filter(reason, topic, since, until, names)
    if letter_filter == DeadLetterFilter() and not replay_all:
        typer.echo("select dead letters by name, --reason, --topic, --since or --until, or use --all", err=True)
        raise typer.Exit(2)
    settings = load(CliSettings)
    letters = await find_dead_letters(settings, letter_filter)
    unknown = letter_filter.names - {letter.name for letter in letters}
    if unknown:
        raise ValueError(f"there is no dead letter {', '.join(sorted(unknown))}")
    truncated = sum(not letter.is_whole for letter in letters)
    if truncated:
        typer.echo(f"{truncated} dead letters are skipped: they hold only the beginning of their records", err=True)
    without_source = sum(letter.destination is None for letter in letters)
    if without_source:
        typer.echo(f"{without_source} dead letters are skipped: they do not name their original topic", err=True)
    if dry_run:
        replayable = sum(letter.is_replayable for letter in letters)
        typer.echo(f"{replayable} of {len(letters)} dead letters would be replayed")
        return
    async with ready_producer(settings) as producer:
        count = await replay(letters, settings=settings, producer=producer)
    typer.echo(f"{count} of {len(letters)} dead letters replayed")


def _build_filter(
    reasons: list[str] | None,
    topics: list[str] | None,
    since: str | None,
    until: str | None,
    names: list[str] | None = None,
) -> DeadLetterFilter:
    now = datetime.now(UTC)
    return DeadLetterFilter(
        reasons=frozenset(reasons or ()),
        topics=frozenset(topics or ()),
        names=frozenset(names or ()),
        since_ms=None if since is None else _parse_instant_ms(since, now),
        until_ms=None if until is None else _parse_instant_ms(until, now),
    )


def _parse_instant_ms(text: str, now: datetime) -> int:
    """Parse an ISO time (UTC by default) or a duration before `now`."""
    number, unit = text[:-1], text[-1:]
    try:
        if number.isdigit() and unit in _UNITS:
            return int((now - timedelta(**{_UNITS[unit]: int(number)})).timestamp() * 1000)
        instant = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"{text} is neither a time nor a duration such as 2h") from error
    return int((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp() * 1000)
