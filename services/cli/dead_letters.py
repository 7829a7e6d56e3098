"""The operator's commands about dead letters."""

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Column, Table

from services.chassis.kafka import dead_letters as dlq
from services.chassis.runtime.settings import load
from services.cli.dead_letter_topics import BOXES, Filter, Letter, letters, replay
from services.cli.decode import Decoded, decoded, visible
from services.cli.run_command import print_table, producing, schemas, told
from services.cli.settings import OperatorSettings

commands = typer.Typer(
    no_args_is_help=True, help="Records that could not be processed: which, why, and sending them back."
)


def _have_letters(topics: list[str] | None) -> list[str] | None:
    """A name that is misspelled would look like a topic without letters."""
    known = [box.removesuffix(dlq.SUFFIX) for box in BOXES]
    for topic in topics or []:
        if topic not in known:
            raise typer.BadParameter(f"no letters are kept of {topic}, but of {', '.join(known)}")
    return topics


Names = Annotated[list[str] | None, typer.Argument(help="Letters by name, as `list` shows them.")]
Reasons = Annotated[list[str] | None, typer.Option("--reason", help="Only letters with this reason; may be repeated.")]
Topics = Annotated[
    list[str] | None,
    typer.Option("--topic", callback=_have_letters, help="Only records of this topic; may be repeated."),
]
Since = Annotated[str | None, typer.Option(help="Only letters since then: 2026-01-31T08:00, or 2h, 3d ago.")]
Until = Annotated[str | None, typer.Option(help="Only letters before then.")]

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@commands.command("list")
def list_letters(
    reason: Reasons = None,
    topic: Topics = None,
    since: Since = None,
    until: Until = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show which letters there are, the oldest first."""
    told(_list(_filter(reason, topic, since, until), as_json=as_json))


async def _list(wanted: Filter, *, as_json: bool) -> None:
    found = await letters(load(OperatorSettings), wanted)
    if as_json:
        for letter in found:
            typer.echo(json.dumps(_row(letter)))
        return
    # The name is what other commands are told: it stays in one piece, however narrow the screen.
    table = Table(Column("letter", no_wrap=True), "died", "reason", "detail", "from", "attempts", "state")
    for letter in found:
        table.add_row(*(escape(str(cell)) for cell in _row(letter).values()))
    print_table(table)
    typer.echo(f"{len(found)} letters")


def _row(letter: Letter) -> dict[str, Any]:
    return {
        "letter": letter.name,
        "died": datetime.fromtimestamp(letter.died_at_ms / 1000, UTC).isoformat(timespec="seconds"),
        "reason": letter.told(dlq.REASON),
        "detail": letter.told(dlq.DETAIL),
        "from": letter.origin,
        "attempts": letter.told(dlq.ATTEMPTS),
        "state": str(letter.state),
    }


@commands.command("show")
def show(name: Annotated[str, typer.Argument(help="The letter's name, as `list` shows it.")]) -> None:
    """Show one letter whole: where it came from, its headers, and its record, if it can be read by now."""
    told(_show(name))


async def _show(name: str) -> None:
    settings = load(OperatorSettings)
    found = await letters(settings, Filter(names=frozenset({name})))
    if not found:
        raise ValueError(f"there is no letter {name}")
    (letter,) = found
    for title, cell in _row(letter).items():
        typer.echo(f"{title + ':':<11}{cell}")
    typer.echo(f"{'key:':<11}{visible(letter.key)}")
    for header, content in letter.headers:
        if not header.startswith(dlq.PREFIX):
            typer.echo(f"{'header:':<11}{visible(header.encode())} = {visible(content)}")
    record = decoded(letter.value, letter.headers, await schemas(settings))
    typer.echo(f"{'value:':<11}{_size(letter)}")
    typer.echo(record.text if isinstance(record, Decoded) else f"{record}\n{visible((letter.value or b'')[:512])}")


def _size(letter: Letter) -> str:
    size = "none" if letter.value is None else f"{len(letter.value)} bytes"
    return size if letter.is_whole else f"the first {size} of a record of {letter.told(dlq.TRUNCATED)}"


@commands.command("replay")
def replay_letters(
    names: Names = None,
    reason: Reasons = None,
    topic: Topics = None,
    since: Since = None,
    until: Until = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="All letters, where nothing else says which.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many would go.")] = False,
) -> None:
    """Send letters back to where their records came from: each once, however often this is done.

    The records are judged again. Outputs come of it, but a job that has ended stays as it ended.
    """
    wanted = _filter(reason, topic, since, until, names)
    if wanted == Filter() and not every:
        typer.echo("say which letters: by name, --reason, --topic, --since, --until, or --all", err=True)
        raise typer.Exit(2)
    told(_replay(wanted, dry_run=dry_run))


async def _replay(wanted: Filter, *, dry_run: bool) -> None:
    settings = load(OperatorSettings)
    found = await letters(settings, wanted)
    lacking = wanted.names - {letter.name for letter in found}
    if lacking:
        raise ValueError(f"there is no letter {', '.join(sorted(lacking))}")
    cut = sum(not letter.is_whole for letter in found)
    if cut:
        typer.echo(f"{cut} letters hold only the beginning of their records and stay", err=True)
    homeless = sum(letter.home is None for letter in found)
    if homeless:
        typer.echo(f"{homeless} letters do not say where their records came from and stay", err=True)
    if dry_run:
        open_ones = sum(letter.may_go for letter in found)
        typer.echo(f"{open_ones} of {len(found)} letters would be replayed")
        return
    async with producing(settings) as producer:
        count = await replay(found, settings=settings, producer=producer)
    typer.echo(f"{count} of {len(found)} letters replayed")


def _filter(
    reasons: list[str] | None,
    topics: list[str] | None,
    since: str | None,
    until: str | None,
    names: list[str] | None = None,
) -> Filter:
    now = datetime.now(UTC)
    return Filter(
        reasons=frozenset(reasons or ()),
        topics=frozenset(topics or ()),
        names=frozenset(names or ()),
        since_ms=None if since is None else _instant_ms(since, now),
        until_ms=None if until is None else _instant_ms(until, now),
    )


def _instant_ms(text: str, now: datetime) -> int:
    """A time, or how long ago."""
    number, unit = text[:-1], text[-1:]
    try:
        if number.isdigit() and unit in _UNITS:
            return int((now - timedelta(**{_UNITS[unit]: int(number)})).timestamp() * 1000)
        instant = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"{text} is neither a time nor a span such as 2h") from error
    return int((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp() * 1000)
