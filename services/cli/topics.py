"""`topics`: shows and creates the Kafka topics."""

import typer
from rich.table import Table

from services.chassis.runtime.settings import load
from services.cli import topic_admin
from services.cli.runtime import print_table, run_command
from services.cli.settings import CliSettings
from services.topics import TOPICS

commands = typer.Typer(no_args_is_help=True, help="Kafka topics: compare with the declarations, create missing ones.")


@commands.command("plan")
def plan() -> None:
    """List the declared topics and whether each exists."""
    run_command(_plan())


async def _plan() -> None:
    table = Table("topic", "partitions", "cleanup", "retention", "state")
    for topic_state in await topic_admin.plan(TOPICS, load(CliSettings)):
        topic = topic_state.topic
        retention = "unlimited" if topic.retention_days is None else f"{topic.retention_days} d"
        state = "exists" if topic_state.current_partitions else "missing"
        partitions = topic_state.current_partitions or topic_state.planned_partitions
        table.add_row(topic.name, str(partitions), str(topic.cleanup), retention, state)
    print_table(table)


@commands.command("create")
def create() -> None:
    """Create the topics that are missing."""
    run_command(_create())


async def _create() -> None:
    created = await topic_admin.create(TOPICS, load(CliSettings))
    typer.echo(f"{len(created)} created" + "".join(f"\n  {name}" for name in created))
