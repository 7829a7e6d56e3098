"""`tillstream import`."""

import hashlib
import math
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import click

from tillstream._sync.client import Client
from tillstream.cli.context import (
    ExitCode,
    describe_error,
    exit_code,
    interrupted_by_signals,
    keep_trying,
    open_client,
    reports_errors,
)
from tillstream.cli.output import ProgressDisplay, plural, print_json, print_table, progress_fields
from tillstream.cli.spool import is_pipe, spooled
from tillstream.errors import TillstreamError, UnreachableError
from tillstream.files import file_digest
from tillstream.importer import Importer, ImportOptions, Progress, is_resumable
from tillstream.manifest import Manifest, options_digest
from tillstream.models import Kind, Mode
from tillstream.profiles import Profile, load_profile, state_directory
from tillstream.report import check_format, write_failed
from tillstream.sources.flat import FlatOptions
from tillstream.sources.open import FORMATS, open_source
from tillstream.sources.records import Source

# How long the services may be away before an import stops, to be resumed.
MAX_WAIT_S = 300.0
MANIFEST_DAYS = 90
MAX_FAULT_ROWS = 20
MAX_UNSENT_MESSAGES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The command line of an import."""

    file: Path
    kind: str
    mode: str | None
    mapping: dict[str, str]
    zone: str | None
    decimal: str | None
    delimiter: str | None
    encoding: str | None
    format_: str | None
    share: float
    failed: Path | None
    dry_run: bool
    again: bool
    as_json: bool


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--kind", type=click.Choice(["orders", "returns"]), required=True, help="What the file holds.")
@click.option("--mode", type=click.Choice(["offline", "online"]), help="Mode of all records; by default each its own.")
@click.option("--map", "pairs", multiple=True, metavar="FIELD=COLUMN", help="Column of a field; can be repeated.")
@click.option("--time-zone", "zone", metavar="ZONE", help="Zone of times without offset, such as Europe/Berlin.")
@click.option("--decimal", type=click.Choice([",", "."]), help="Decimal sign; by default told by the amounts.")
@click.option("--delimiter", help="Delimiter of CSV; by default told by the header.")
@click.option("--encoding", help="Encoding of CSV and JSON, such as utf-8 or cp1252; by default told by the content.")
@click.option("--format", "format_", type=click.Choice(FORMATS), help="Format; by default told by name and content.")
@click.option("--share", type=click.FloatRange(0.01, 1.0), default=1.0, help="Part of the site's limit to use.")
@click.option("--failed", type=click.Path(path_type=Path, dir_okay=False), help="Write the failed records to a file.")
@click.option("--dry-run", is_flag=True, help="Only validate, against the catalogue too; nothing is imported.")
@click.option("--again", is_flag=True, help="Import a file once more that has been imported already.")
@click.option("--json", "as_json", is_flag=True, help="Write events as JSON, one a line, to the standard output.")
@click.pass_context
@reports_errors
def import_(context: click.Context, /, pairs: Sequence[str], **options: Any) -> None:
    """Import orders or returns from a CSV, XLSX, JSON or NDJSON file, or from a pipe (-).

    Lines of one order are grouped by its id. Delimiter, encoding, decimal sign and header row are detected. The
    import keeps to the limit of your site, waits for all jobs, and shows what failed and why. If it is stopped or
    killed, the same command goes on where it was.

    \b
    tillstream import sales.csv --kind orders
    tillstream import sales.xlsx --kind orders --failed failed.xlsx --time-zone Europe/Berlin
    tillstream import sales.csv --kind orders --map id="Order no." --map userId=Customer --dry-run
    zcat sales.ndjson.gz | tillstream import - --kind returns
    """  # noqa: D301 - click's mark
    arguments = Arguments(mapping=_parse_pairs(pairs), **options)
    profile = load_profile(context.obj)
    with interrupted_by_signals(), ExitStack() as stack:
        path = arguments.file
        if is_pipe(path):
            path = stack.enter_context(spooled(path, state_directory() / "spool"))
        code = _import(context, profile, path, arguments)
    _exit(code)


def _import(context: click.Context, profile: Profile, path: Path, arguments: Arguments) -> ExitCode:
    source = _open(path, arguments)
    identity = options_digest(
        {
            "kind": arguments.kind,
            "mode": arguments.mode,
            "map": options_digest(dict(arguments.mapping)),
            "zone": arguments.zone,
            "decimal": arguments.decimal,
            "delimiter": arguments.delimiter,
            "encoding": arguments.encoding,
            "format": arguments.format_,
            "base": profile.base_url,
            "client": profile.client_id,
            "apiKey": profile.api_key,
            "file": file_digest(path),
        }
    )
    manifest = _open_manifest(identity, arguments)
    try:
        with open_client(context) as client:
            try:
                client.imports.limits(validate_only=arguments.dry_run)
            except TillstreamError as error:
                return _stopped(error, manifest, arguments)
            keep_trying(client, max_wait_s=MAX_WAIT_S)
            return _run(client, source, manifest, arguments)
    finally:
        manifest.close()


def _parse_pairs(pairs: Sequence[str]) -> dict[str, str]:
    mapping = {}
    for pair in pairs:
        name, sign, column = pair.partition("=")
        if not sign or not name or not column:
            raise click.UsageError(f"--map {pair}: write FIELD=COLUMN, for example --map id='Order no.'")
        mapping[name.strip()] = column
    return mapping


def _open(path: Path, arguments: Arguments) -> Source:
    try:
        zone: tzinfo | None = ZoneInfo(arguments.zone) if arguments.zone else None
    except (KeyError, ValueError, OSError):
        raise click.UsageError(f"--time-zone {arguments.zone}: no such zone; write one like Europe/Berlin") from None
    options = FlatOptions(
        arguments.kind, arguments.mapping, arguments.decimal, zone, arguments.delimiter, arguments.encoding
    )
    source = open_source(path, options, format_=arguments.format_)
    if arguments.failed is not None:
        check_format(arguments.failed, source)
        if arguments.failed.exists() and arguments.failed.samefile(path):
            raise click.UsageError("--failed names the file that is imported; name another one")
    if not arguments.as_json:
        click.echo("; ".join(source.findings), err=True)
    for warning in source.warnings:
        click.echo(f"warning: {warning}", err=True)
    return source


def _open_manifest(identity: str, arguments: Arguments) -> Manifest:
    if arguments.dry_run:
        return Manifest(None)
    name = hashlib.sha256(identity.encode()).hexdigest()[:32]
    path = state_directory() / "imports" / f"{name}.sqlite"
    delete_old(path.parent)
    manifest = Manifest(path)
    if arguments.again and manifest.get("done"):
        manifest.clear()
    return manifest


def delete_old(directory: Path) -> None:
    """Forget imports that nothing was done about for a long time."""
    oldest = time.time() - MANIFEST_DAYS * 86_400
    for path in directory.glob("*.sqlite"):
        # What a killed run has done last is in a file beside it.
        files = [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]
        with suppress(FileNotFoundError):  # another run has deleted it
            if max((file.stat().st_mtime for file in files if file.exists()), default=math.inf) < oldest:
                for file in files:
                    file.unlink(missing_ok=True)


def _run(client: Client, source: Source, manifest: Manifest, arguments: Arguments) -> ExitCode:
    total = _count(source, manifest)
    if manifest.get("done"):
        click.echo("this file has been imported already; --again imports it once more", err=True)
    elif manifest.tally().sent:
        click.echo(f"going on after {plural(manifest.tally().sent, 'record')}", err=True)
    options = ImportOptions(
        kind=cast("Kind", arguments.kind),
        mode=cast("Mode | None", arguments.mode),
        share=arguments.share,
        dry_run=arguments.dry_run,
    )
    importer = Importer(client, source, manifest, options)
    handlers = {number: signal.signal(number, lambda *_: importer.stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    display = ProgressDisplay(as_json=arguments.as_json)
    progress: Progress | None = None
    try:
        for progress in importer.run(total):
            display.show(progress)
    except TillstreamError as error:
        display.end(progress)
        return _stopped(error, manifest, arguments)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    display.end(progress)
    manifest.put("done", "1")
    return _report(importer.progress(), source, manifest, arguments)


def _count(source: Source, manifest: Manifest) -> int:
    known = manifest.get("total")
    if known is None:
        click.echo("checking the file …", err=True)
        known = str(source.count())
        manifest.put("total", known)
    return int(known)


def _stopped(error: TillstreamError, manifest: Manifest, arguments: Arguments) -> ExitCode:
    """Say why an import ended early, and how to go on."""
    has_begun = not arguments.dry_run and (manifest.next_record > 0)
    is_temporary = is_resumable(error) or isinstance(error, UnreachableError)
    code = ExitCode.RESUMABLE if is_temporary and has_begun else exit_code(error)
    click.echo(describe_error(error), err=True)
    if code is ExitCode.RESUMABLE:
        click.echo("the same command goes on where it was", err=True)
    if arguments.as_json:
        print_json({"event": "stopped", "error": str(error), "exitCode": int(code)})
    return code


def _report(progress: Progress, source: Source, manifest: Manifest, arguments: Arguments) -> ExitCode:
    tally = progress.tally
    failed = tally.failed + tally.unsent
    code = ExitCode.OK if not failed else ExitCode.SOME_FAILED if tally.succeeded else ExitCode.ALL_FAILED
    table = manifest.fault_table()
    if arguments.as_json:
        faults = [dict(zip(("code", "field", "product", "records"), row, strict=True)) for row in table]
        fields = {"jobs": len(manifest.jobs()), "faults": faults, "dryRun": arguments.dry_run, "exitCode": int(code)}
        print_json({"event": "done", **progress_fields(progress), **fields})
    else:
        verb = "would be accepted" if arguments.dry_run else "accepted"
        click.echo(f"{plural(progress.total, 'record')}: {tally.succeeded:,} {verb}, {failed:,} failed")
        if table:
            click.echo("")
            print_table(("code", "field", "product", "records"), table[:MAX_FAULT_ROWS])
            if len(table) > MAX_FAULT_ROWS:
                click.echo(f"… and {len(table) - MAX_FAULT_ROWS} more kinds of faults")
        for message in manifest.unsent_messages(MAX_UNSENT_MESSAGES):
            click.echo(f"not sent: {message}", err=True)
    if failed and arguments.failed is not None:
        written = write_failed(arguments.failed, source, manifest, delimiter=getattr(source, "delimiter", ","))
        click.echo(f"written: {arguments.failed}, {plural(written, 'record')} to be mended and imported", err=True)
    elif failed and not arguments.as_json:
        click.echo("--failed FILE writes these records with their errors; run the same command with it", err=True)
    return code


def _exit(code: ExitCode) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    if code is ExitCode.RESUMABLE:
        # Threads may still repeat a request, and the interpreter would wait for them.
        os._exit(code)
    raise click.exceptions.Exit(code)
