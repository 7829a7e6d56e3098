"""Run Schemathesis against a running API: no response may be a server error or undocumented."""

import os
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

# How often each operation answered with each status.
Seen = Counter[tuple[str, int]]


def explore(
    document: Any, base_url: str, *, examples: int, token: str, path_parameters: Mapping[str, str], start: int = 0
) -> Seen:
    """Send `examples` requests to each operation, valid and invalid ones; raises on the first wrong response.

    `path_parameters` are valid values, which replace generated ones in most requests.
    """
    seen: Seen = Counter()
    schema = schemathesis.openapi.from_dict(document)
    with requests.Session() as session:
        for operation in all_operations(schema):
            for mode in GenerationMode:
                strategy = operation.as_strategy(generation_mode=mode)
                _explore(strategy, session, base_url, max(examples // 2, 1), token, path_parameters, seen, start)
    return seen


def _explore(
    strategy: Any,
    session: requests.Session,
    base_url: str,
    examples: int,
    token: str,
    path_parameters: Mapping[str, str],
    seen: Seen,
    start: int,
) -> None:
    @seed(start)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy, chance=st.integers(0, 9))
    def send(case: Case[Any], chance: int) -> None:
        if chance:
            case.path_parameters.update(
                {name: value for name, value in path_parameters.items() if name in case.path_parameters}
            )
        headers = {"Authorization": f"Bearer {token}"} if chance > 1 else {}
        response = case.call(base_url=base_url, session=session, headers=headers, timeout=60)
        seen[f"{case.method} {case.path}", response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    # An operation without parameters has no invalid requests.
    with suppress(Unsatisfiable):
        send()


def all_operations(schema: Any) -> list[Any]:
    """Return the operations that Schemathesis found; raises on one that it cannot read."""
    return [result.ok() for result in schema.get_all_operations()]


def example_count(bounded: int) -> int:
    """Return the number of requests per operation: `FUZZ_EXAMPLES` in a campaign, else `bounded`."""
    return int(os.environ.get("FUZZ_EXAMPLES", bounded))
