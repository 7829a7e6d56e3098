"""`tillstream jobs`."""

from datetime import datetime
from itertools import chain
from time import monotonic, sleep
from typing import Any

import click

from tillstream._sync.jobs import MAX_SERVER_WAIT_S
from tillstream.cli.context import ExitCode, open_client, reports_errors
from tillstream.cli.output import print_json, print_table
from tillstream.encoding import encode_records
from tillstream.errors import NotFoundError
from tillstream.http import is_young
from tillstream.importer import NOT_PROCESSED
from tillstream.models import Job

STATES = ("RECEIVED", "VALIDATING", "COMPLETED", "COMPLETED_WITH_WARNING", "FAILED", "EXPIRED")
_HEADINGS = ("job", "created", "type", "mode", "state", "total", "accepted", "failed")


@click.group()
def jobs() -> None:
    """Follow import jobs."""


@jobs.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only jobs in this state.")
@click.option("--kind", type=click.Choice(["orders", "returns"]), help="Only jobs of this kind.")
@click.option("--from", "since", type=click.DateTime(), help="Day or time of the first job.")
@click.option("--to", "until", type=click.DateTime(), help="Day or time of the last job.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many jobs at most.")
@click.option("--json", "as_json", is_flag=True, help="One job a line, as JSON.")
@click.pass_context
@reports_errors
def list_(context: click.Context, /, *, limit: int, as_json: bool, **filters: Any) -> None:
    """List jobs, newest first.

    \b
    tillstream jobs list --state FAILED --from 2026-11-01
    """  # noqa: D301 - click's mark
    for name in ("since", "until"):
        moment: datetime | None = filters[name]
        if moment is not None and moment.time() == datetime.min.time():
            filters[name] = moment.date()
        elif moment is not None:
            filters[name] = moment.astimezone()
    with open_client(context) as client:
        found = []
        for job in client.jobs.list(rows=min(limit, 1000), **filters):
            found.append(job)
            if len(found) == limit:
                break
    if as_json:
        for job in found:
            print_json(job)
    else:
        print_table(_HEADINGS, [_row(job) for job in found])


@jobs.command()
@click.argument("job_id")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
@reports_errors
def show(context: click.Context, job_id: str, *, as_json: bool) -> None:
    """Show one job.

    \b
    tillstream jobs show 6f1c…
    """  # noqa: D301 - click's mark
    with open_client(context) as client:
        _print_job(client.jobs.get(job_id), as_json=as_json)


@jobs.command()
@click.argument("job_id")
@click.option("--timeout", type=float, help="Give up after that many seconds, with exit code 75.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
@reports_errors
def watch(context: click.Context, job_id: str, *, timeout: float | None, as_json: bool) -> None:
    """Wait until a job has ended; exit with 3 if some records failed, 4 if all did.

    \b
    tillstream jobs watch 6f1c… --timeout 600
    """  # noqa: D301 - click's mark
    deadline = None if timeout is None else monotonic() + timeout
    with open_client(context) as client:
        while True:
            left = MAX_SERVER_WAIT_S if deadline is None else min(deadline - monotonic(), MAX_SERVER_WAIT_S)
            try:
                job = client.jobs.get(job_id, wait_s=max(int(left), 1))
            except NotFoundError as error:
                # Accepted, and not shown yet.
                if not is_young(job_id, error):
                    raise
                sleep(1.0)
            else:
                if job.terminal:
                    break
                if not as_json:
                    click.echo(f"{job.state}: {job.name}", err=True)
            if deadline is not None and monotonic() >= deadline:
                raise click.exceptions.Exit(ExitCode.RESUMABLE)
    _print_job(job, as_json=as_json)
    counts = job.counts
    bad = counts.failed + counts.unprocessed
    raise click.exceptions.Exit(
        ExitCode.OK if not bad else ExitCode.SOME_FAILED if counts.success else ExitCode.ALL_FAILED
    )


@jobs.command()
@click.argument("job_id")
@click.option("--json", "as_json", is_flag=True, help="One record a line, as JSON.")
@click.pass_context
@reports_errors
def failed(context: click.Context, job_id: str, *, as_json: bool) -> None:
    """List the records of a job that failed or were not processed in time, with their faults.

    \b
    tillstream jobs failed 6f1c… --json
    """  # noqa: D301 - click's mark
    with open_client(context) as client:
        records = chain(
            client.jobs.records(job_id, outcome="failed"), client.jobs.records(job_id, outcome="unprocessed")
        )
        if as_json:
            for record in records:
                # Amounts of the record are numbers, as they were sent.
                click.echo(encode_records(record).decode())
            return
        print_table(
            ("index", "id", "code", "field", "message"),
            (
                (
                    record.index,
                    record.id or f"{record.order_id} {record.return_id}",
                    fault.code,
                    fault.field,
                    fault.message,
                )
                for record in records
                for fault in record.faults or [NOT_PROCESSED]
            ),
        )


def _print_job(job: Job, *, as_json: bool) -> None:
    if as_json:
        print_json(job)
    else:
        print_table(_HEADINGS, [_row(job)])


def _row(job: Job) -> tuple[object, ...]:
    counts, attributes = job.counts, job.attributes
    created = job.job_created[:19].replace("T", " ")
    failed_ = counts.failed + counts.unprocessed
    return job.job_id, created, attributes.type, attributes.mode, job.state, counts.total, counts.success, failed_
