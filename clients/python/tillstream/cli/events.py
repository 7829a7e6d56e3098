"""`tillstream events` and `tillstream webhooks`."""

import math
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import click
import httpx2
import msgspec

from tillstream import webhooks as signatures
from tillstream._sync.events import MAX_SERVER_WAIT_S
from tillstream.cli.context import ExitCode, keep_trying, open_client, reports_errors
from tillstream.cli.output import print_json, write_whole
from tillstream.models import FeedEvent

TYPES = (
    "job.finished",
    "codes.available",
    "order.completed",
    "invoice.issued",
    "endpoint.disabled",
    "endpoint.recovered",
)
SECRET_VARIABLE = "TILLSTREAM_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable
_FORWARD_TIMEOUT_S = 15.0
# Of a page of the feed.
MAX_ROWS = 1000


@click.group()
def events() -> None:
    """Follow the feed of events."""


@events.command()
@click.option("--type", "types", type=click.Choice(TYPES), multiple=True, help="Only this type; can be repeated.")
@click.option("--after", help="Cursor or time to begin at; by default now. `oldest` begins with the oldest event.")
@click.option("--cursor-file", type=click.Path(path_type=Path, dir_okay=False), help="Go on where the last run ended.")
@click.option("--limit", type=click.IntRange(1), help="End after this many events.")
@click.option("--json", "as_json", is_flag=True, help="One event a line, as JSON.")
@click.pass_context
@reports_errors
def tail(
    context: click.Context,
    *,
    types: Sequence[str],
    after: str | None,
    cursor_file: Path | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """Print events as they happen.

    Nothing is missed: after a pause of any length, also of a computer that slept, it goes on with the next event.

    \b
    tillstream events tail --type job.finished --cursor-file cursor --json | while read -r event; do …; done
    """  # noqa: D301 - click's mark
    for event in _follow(context, types, after, cursor_file, limit):
        if as_json:
            print_json(event)
        else:
            click.echo(f"{event.time:%Y-%m-%d %H:%M:%S}  {event.sequence}  {event.type}  {_summary(event)}")
        sys.stdout.flush()


@click.group("webhooks")
def webhook_commands() -> None:
    """Try receivers of webhooks."""


@webhook_commands.command()
@click.option("--forward-to", "url", required=True, help="Address of your receiver, for example http://localhost:3000.")
@click.option("--type", "types", type=click.Choice(TYPES), multiple=True, help="Only this type; can be repeated.")
@click.option("--after", help="Cursor or time to begin at; by default now.")
@click.option("--cursor-file", type=click.Path(path_type=Path, dir_okay=False), help="Go on where the last run ended.")
@click.option("--limit", type=click.IntRange(1), help="End after this many events.")
@click.pass_context
@reports_errors
def listen(
    context: click.Context,
    *,
    url: str,
    types: Sequence[str],
    after: str | None,
    cursor_file: Path | None,
    limit: int | None,
) -> None:
    """Forward the events of your site to a receiver that is not on the internet, signed as webhooks are.

    Each event is forwarded once, and its outcome printed, whatever the receiver answers.

    \b
    tillstream webhooks listen --forward-to http://localhost:3000/hooks
    """  # noqa: D301 - click's mark
    secret = _secret()
    with httpx2.Client(timeout=_FORWARD_TIMEOUT_S) as http:
        for event in _follow(context, types, after, cursor_file, limit):
            body = msgspec.json.encode(_as_sent(event))
            click.echo(f"{event.type} {event.id}  {_post(http, url, secret, event.id, body)}")
            sys.stdout.flush()


@webhook_commands.command()
@click.argument("type_", metavar="TYPE", type=click.Choice(TYPES))
@click.option("--forward-to", "url", required=True, help="Address of your receiver.")
@reports_errors
def trigger(type_: str, url: str) -> None:
    """Send a made-up event to a receiver, signed as webhooks are.

    \b
    tillstream webhooks trigger job.finished --forward-to http://localhost:3000/hooks
    """  # noqa: D301 - click's mark
    event = FeedEvent(
        id=str(uuid4()),
        type=type_,
        source="urn:tillstream:site:0",
        time=datetime.now(UTC),
        sequence=0,
        data={"example": True},
    )
    with httpx2.Client(timeout=_FORWARD_TIMEOUT_S) as http:
        outcome = _post(http, url, _secret(), event.id, msgspec.json.encode(_as_sent(event)))
    click.echo(f"{type_} {event.id}  {outcome}")
    raise click.exceptions.Exit(ExitCode.OK if outcome.startswith("2") else ExitCode.ALL_FAILED)


@webhook_commands.command()
@click.argument("body", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--id", "message_id", required=True, help="Value of webhook-id.")
@click.option("--timestamp", required=True, help="Value of webhook-timestamp.")
@click.option("--signature", required=True, help="Value of webhook-signature.")
@reports_errors
def verify(body: Path, message_id: str, timestamp: str, signature: str) -> None:
    """Check the signature of a received request, whose body is in a file or on the standard input (-).

    \b
    tillstream webhooks verify body.json --id msg_1 --timestamp 1764498000 --signature v1,…
    """  # noqa: D301 - click's mark
    content = sys.stdin.buffer.read() if str(body) == "-" else body.read_bytes()
    fields = {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": signature}
    try:
        signatures.verify(_secret(), fields, content)
    except signatures.SignatureError as error:
        click.echo(f"error: {error}", err=True)
        raise click.exceptions.Exit(ExitCode.ALL_FAILED) from None
    click.echo("the signature is valid")


def _follow(
    context: click.Context, types: Sequence[str], after: str | None, cursor_file: Path | None, limit: int | None
) -> Iterator[FeedEvent]:
    """Yield events; the cursor is stored behind each page, once all its events are handled.

    With a limit the last page ends at it: the cursor is behind the last event that was yielded.
    """
    start = after or datetime.now(UTC).isoformat()
    if cursor_file is not None and cursor_file.exists() and after is None:
        start = cursor_file.read_text(encoding="utf-8").strip()
    cursor = None if start == "oldest" else start
    # The first page comes at once: a wrong cursor or address shows.
    seen = wait_s = 0
    with open_client(context) as client:
        while limit is None or seen < limit:
            rows = None if limit is None else min(limit - seen, MAX_ROWS)
            page = client.events.page(after=cursor, types=types, rows=rows, wait_s=wait_s)
            wait_s = MAX_SERVER_WAIT_S
            # However long the services are away, or this computer sleeps.
            keep_trying(client, max_wait_s=math.inf)
            cursor = page.pagination.next_page_token
            yield from page.result
            seen += len(page.result)
            if cursor_file is not None:
                write_whole(cursor_file, cursor)


def _post(http: httpx2.Client, url: str, secret: str, message_id: str, body: bytes) -> str:
    try:
        response = http.post(url, content=body, headers=signatures.headers(secret, message_id, body))
    except httpx2.TransportError as error:
        return f"not received: {error or type(error).__name__}"
    return f"{response.status_code} {response.reason_phrase}"


def _secret() -> str:
    """Return the secret to sign with; never from the command line, which others could see."""
    secret = os.environ.get(SECRET_VARIABLE)
    if not secret:
        secret = signatures.new_secret()
        click.echo(f"signing with {secret}; set {SECRET_VARIABLE} to use one of your own", err=True)
    return secret


def _as_sent(event: FeedEvent) -> dict[str, object]:
    return {"specversion": "1.0", **msgspec.to_builtins(event)}


def _summary(event: FeedEvent) -> str:
    names = ("jobId", "transactionId", "number", "endpointId", "state", "status", "total")
    return " ".join(str(event.data[name]) for name in names if name in event.data)
