"""How every command runs: an event loop for its length, what is not possible told in a line."""

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
from services.cli.settings import OperatorSettings
from services.subjects import SUBJECTS_OF

BROKERS_WITHIN_S = 30.0
# Where nobody looks at a screen, lines may be as long as they are.
UNFOLDED = 1_000


def told(work: Coroutine[Any, Any, None]) -> None:
    """Run one command; what is not possible is told in a line."""
    try:
        asyncio.run(work)
    except (UnavailableError, KafkaError, ValueError, OSError) as reason:
        # The kind of error tells whether it is the network or a right that is missing.
        kind = (
            f" ({type(reason.__cause__).__name__})" if isinstance(reason, UnavailableError) and reason.__cause__ else ""
        )
        typer.echo(f"{reason}{kind}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def print_table(table: Table) -> None:
    """Print a table whole: names are there to be copied, so what does not fit on a screen is folded, never cut."""
    for column in table.columns:
        column.overflow = "fold"
    Console(width=None if Console().is_terminal else UNFOLDED).print(table)


@asynccontextmanager
async def producing(settings: OperatorSettings) -> AsyncIterator[Producer]:
    """A producer that is ready."""
    producer = Producer(settings, client_id="operator")
    await producer.start()
    try:
        await producer.wait_ready(BROKERS_WITHIN_S)
        yield producer
    finally:
        await producer.stop()


async def schemas(settings: OperatorSettings) -> Schemas:
    """The schemas, under the ids that the brokers' readers know."""
    return await load_schemas(settings.schemas_dir, settings, SUBJECTS_OF, wait=False)
