"""Each document by itself: valid OpenAPI, valid examples, uniform problems."""

from collections import Counter
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from tests.openapi.documents import NAMES, contents, examples, load_document, operations, resolve


@pytest.fixture(params=NAMES)
def document(request: pytest.FixtureRequest) -> Any:
    return load_document(request.param)


def test_there_is_one_for_each_api() -> None:
    assert {"auth", "common-status", "omnichannel"} <= set(NAMES)


def test_it_is_openapi(document: Any) -> None:
    validate(document)
    assert document["openapi"].startswith("3.1.")


def test_its_examples_are_what_its_schemas_say(document: Any) -> None:
    for where, schema, value in examples(document):
        checker = Draft202012Validator({**schema, "components": document["components"]})
        assert [error.message for error in checker.iter_errors(value)] == [], where


def test_its_operations_have_names_of_their_own(document: Any) -> None:
    names = Counter(definition["operationId"] for definition in operations(document).values())
    assert [name for name, count in names.items() if count > 1] == []
    assert all(definition.get("summary", "").endswith(".") for definition in operations(document).values())


def test_every_reference_leads_somewhere_and_nothing_is_left_over(document: Any) -> None:
    used: set[str] = set()

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                used.add(node["$ref"])
                resolve(document, node)
            for child in node.values():
                walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)

    walk(document)
    there = {
        f"#/components/{section}/{name}"
        for section, parts in document["components"].items()
        if section != "securitySchemes"
        for name in parts
    }
    assert there == used


def test_every_problem_has_the_members_that_all_problems_have(document: Any) -> None:
    problems = [where for where, _ in contents(document)]
    for where, media in contents(document):
        schema = resolve(document, media.get("schema", {}))
        if "code" in schema.get("properties", {}):
            assert {"type", "title", "status", "code", "requestId"} <= set(schema["required"]), where
    assert problems
