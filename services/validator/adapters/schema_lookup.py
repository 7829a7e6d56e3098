"""Schemas that this process does not ship with, looked up in the registry in the background."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from services.avro.schema import parse_schema
from services.chassis.avro.schemas import Schema
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import logger

# A registry that answers at all does so within milliseconds. One that hangs must not hold up records of other schemas.
WAIT_S = 0.2
MAX_CONCURRENT_LOOKUPS = 16
MAX_MISSES = 1_000
_LOG = logger(__name__)


class SchemaSource(Protocol):
    """Looks up schemas that this process does not ship with."""

    async def definition(self, schema_id: int) -> Mapping[str, Any] | None:
        """Return the schema's definition; None if there is no such schema. Raises `UnavailableError`."""


class SchemaLookup:
    """Schemas by id. Only those that exist are cached: senders could fill the memory with ids that do not."""

    def __init__(self, source: SchemaSource) -> None:
        self._source = source
        # None for a schema that cannot be converted to ours.
        self._found: dict[int, Schema | None] = {}
        self._missing: set[int] = set()
        self._lookups: dict[int, asyncio.Task[None]] = {}

    def get(self, schema_id: int) -> Schema | None:
        """Return a schema that was found before."""
        return self._found.get(schema_id)

    async def find_unanswered(self, schema_ids: Iterable[int]) -> set[int]:
        """Look up schemas, the first ones first; return the ids of those without an answer from the registry yet.

        A lookup goes on in the background, so that a later call has its answer. That an id is missing is reported
        once: by the next call the schema may have been registered.
        """
        deadline = asyncio.get_running_loop().time() + WAIT_S
        unanswered = self._without_answers(dict.fromkeys(schema_ids))
        while started := self._start_lookups(unanswered):
            before = unanswered
            await asyncio.wait(started, timeout=max(deadline - asyncio.get_running_loop().time(), 0))
            unanswered = self._without_answers(before)
            if len(unanswered) == len(before):
                break
        return set(unanswered)

    def _start_lookups(self, schema_ids: Iterable[int]) -> list["asyncio.Task[None]"]:
        new = [schema_id for schema_id in schema_ids if schema_id not in self._lookups]
        started = new[: MAX_CONCURRENT_LOOKUPS - len(self._lookups)]
        self._lookups |= {schema_id: asyncio.create_task(self._look_up(schema_id)) for schema_id in started}
        return [self._lookups[schema_id] for schema_id in started]

    def _without_answers(self, schema_ids: Iterable[int]) -> list[int]:
        unanswered = [each for each in schema_ids if each not in self._found and each not in self._missing]
        self._missing.difference_update(schema_ids)
        return unanswered

    async def _look_up(self, schema_id: int) -> None:
        try:
            definition = await self._source.definition(schema_id)
        except UnavailableError:
            return
        except Exception:  # noqa: BLE001 - nobody may be waiting for this lookup any more
            _LOG.exception("schema lookup failed", schema_id=schema_id)
            return
        finally:
            del self._lookups[schema_id]
        if definition is not None:
            self._found[schema_id] = _supported_version(schema_id, definition)
        elif len(self._missing) < MAX_MISSES:
            self._missing.add(schema_id)


def _supported_version(schema_id: int, definition: Mapping[str, Any]) -> Schema | None:
    """Return the version unless it uses Avro types that ours do not: then it cannot be converted to ours."""
    try:
        parse_schema(definition)
    except ValueError:
        return None
    return Schema("", 0, schema_id, definition)
