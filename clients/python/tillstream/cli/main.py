"""Entry point."""

import click

from tillstream.cli.completion import completion
from tillstream.cli.events import events, webhook_commands
from tillstream.cli.import_file import import_
from tillstream.cli.invoices import invoices
from tillstream.cli.jobs import jobs
from tillstream.cli.ledger import report, users
from tillstream.cli.login import login
from tillstream.cli.orders import orders
from tillstream.cli.template_file import template
from tillstream.http import VERSION


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--profile", help="Profile with the credentials; by default TILLSTREAM_PROFILE, else 'default'.")
@click.version_option(VERSION, prog_name="tillstream")
@click.pass_context
def main(context: click.Context, profile: str | None) -> None:
    """Import sales into Tillstream, follow jobs, collect codes and invoices.

    \b
    tillstream login
    tillstream template orders --out sales.xlsx
    tillstream import sales.xlsx --kind orders --failed failed.xlsx

    Exit codes: 0 all good, 2 wrong usage or file, 3 some records failed, 4 all failed, 5 not reached or not allowed,
    75 stopped: the same command goes on.
    """  # noqa: D301 - click's mark of a paragraph that is not wrapped
    context.obj = profile


for command in (
    login,
    import_,
    template,
    jobs,
    orders,
    invoices,
    users,
    report,
    events,
    webhook_commands,
    completion,
):
    main.add_command(command)
