"""`topics`: shows and creates the Kafka topics."""

import typer
from rich.table import Table

from services.chassis.runtime.settings import load
from services.cli import topic_admin
from services.cli.runtime import command, print_table
from services.cli.settings import CliSettings
from services.topics import TOPICS

commands = typer.Typer(no_args_is_help=True, help="Kafka topics: compare with the declarations, create missing ones.")


@commands.command("plan")
@command
async def plan() -> None:
    """List the declared topics and whether each exists."""
    settings = load(CliSettings)
    existing = await topic_admin.count_partitions(settings)
    table = Table("topic", "partitions", "cleanup", "retention", "state")
    for topic in TOPICS:
        partitions = existing.get(topic.name) or topic.partitions or settings.topic_partitions
        retention = "unlimited" if topic.retention_days is None else f"{topic.retention_days} d"
        state = "exists" if topic.name in existing else "missing"
        table.add_row(topic.name, str(partitions), str(topic.cleanup), retention, state)
    print_table(table)


@commands.command("create")
@command
async def create() -> None:
    """Create the topics that are missing."""
    created = await topic_admin.create(TOPICS, load(CliSettings))
    typer.echo(f"{len(created)} created" + "".join(f"\n  {name}" for name in created))
