"""Shared by all commands: the event loop, exit codes, tables, a producer and the schemas."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import typer
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from services.chassis.avro.registry_client import load_schemas
from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.producer import Producer
from services.chassis.runtime.errors import UnavailableError
from services.cli.settings import CliSettings
from services.topics import SUBJECTS_BY_SCHEMA

KAFKA_TIMEOUT_S = 30.0
# Table width when the output is not a terminal: no cell is folded.
PIPE_WIDTH = 1_000


def run_command(command: Coroutine[Any, Any, None]) -> None:
    """Run one command; print an expected error as one line and exit with 1, or with 130 if interrupted."""
    try:
        asyncio.run(command)
    except (UnavailableError, KafkaError, ValueError, OSError) as error:
        cause = error.__cause__ if isinstance(error, UnavailableError) else None
        # The cause's type tells a network problem from a missing permission; its text may quote the broker.
        typer.echo(f"{error} ({type(cause).__name__})" if cause else str(error), err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def print_table(table: Table) -> None:
    """Print a table; fold cells that are too wide instead of truncating them, so that names can be copied."""
    for column in table.columns:
        column.overflow = "fold"
    Console(width=None if Console().is_terminal else PIPE_WIDTH).print(table)


@asynccontextmanager
async def ready_producer(settings: CliSettings) -> AsyncIterator[Producer]:
    """Yield a connected producer. Raises `UnavailableError`."""
    producer = Producer(settings, client_id="operator")
    await producer.start()
    try:
        await producer.wait_ready(KAFKA_TIMEOUT_S)
        yield producer
    finally:
        await producer.stop()


async def fetch_schemas(settings: CliSettings) -> Schemas:
    """Return the schemas under the ids that the schema registry assigned. Raises `UnavailableError`."""
    return await load_schemas(settings.schemas_dir, settings, SUBJECTS_BY_SCHEMA, wait=False)
