"""Shared by all commands: the event loop, exit codes, tables, a producer and the schemas."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from services.chassis.avro.registry_client import load_schemas
from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.producer import Producer
from services.chassis.runtime.command import async_command
from services.cli.settings import CliSettings
from services.topics import SUBJECTS_BY_SCHEMA

KAFKA_TIMEOUT_S = 30.0
# Table width when the output is not a terminal: no cell is folded.
PIPE_WIDTH = 1_000

# Makes a coroutine function a command.
command = async_command(KafkaError, ValueError, OSError)


def print_table(table: Table) -> None:
    """Print a table; fold cells that are too wide instead of truncating them, so that names can be copied."""
    for column in table.columns:
        column.overflow = "fold"
    Console(width=None if Console().is_terminal else PIPE_WIDTH).print(table)


@asynccontextmanager
async def ready_producer(settings: CliSettings) -> AsyncIterator[Producer]:
    """Yield a connected producer. Raises `UnavailableError`."""
    async with Producer(settings, client_id="operator") as producer:
        await producer.wait_ready(KAFKA_TIMEOUT_S)
        yield producer


async def fetch_schemas(settings: CliSettings) -> Schemas:
    """Return the schemas under the ids that the schema registry assigned. Raises `UnavailableError`."""
    return await load_schemas(settings.schemas_dir, settings, SUBJECTS_BY_SCHEMA, wait=False)
