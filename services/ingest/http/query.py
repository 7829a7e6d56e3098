"""Query parameters of the import API. Their names and values are case-insensitive."""

from typing import NamedTuple

from aiohttp import web

from services.chassis.runtime.errors import Problem
from services.sales.records import MODES

_FLAGS = {"true": True, "1": True, "false": False, "0": False}


class ImportQuery(NamedTuple):
    """The query of an import request. `problem` is what is wrong with it, reported after the scope has been checked."""

    mode: str | None = None
    validate_only: bool = False
    problem: Problem | None = None

    def require_valid(self) -> None:
        """Raise the `Problem`, if there is one."""
        if self.problem is not None:
            raise self.problem


IMPORT = ImportQuery()


def parse_query(request: web.Request) -> ImportQuery:
    """Parse the query. A parameter that is repeated must have the same value each time."""
    if not request.query_string:
        return IMPORT
    values: dict[str, set[str]] = {}
    for name, value in request.query.items():
        values.setdefault(name.lower(), set()).add(value.lower())
    modes, flags = values.get("mode", set()), values.get("validateonly", {"false"})
    problem = None
    if not modes <= set(MODES) or len(modes) > 1:
        problem = Problem(400, "INVALID_MODE", "mode must be offline or online")
    # Taken for false, a value that is not understood would import what was only to be validated.
    elif not flags <= _FLAGS.keys() or len({_FLAGS[flag] for flag in flags}) > 1:
        problem = Problem(400, "INVALID_VALIDATE_ONLY", "validateOnly must be true or false")
    return ImportQuery(next(iter(modes), None), any(_FLAGS.get(flag, False) for flag in flags), problem)
