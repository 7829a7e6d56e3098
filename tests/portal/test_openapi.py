"""The documents as pages show them, and the requests that are built from them."""

import ast
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.portal.domain.api_catalogue import API_ENTRIES
from services.portal.domain.api_requests import ApiRequest, build_request, changes_data
from services.portal.domain.api_responses import MAX_SHOWN_CHARACTERS, ApiResponse, show_body
from services.portal.domain.openapi import METHODS, ApiDocument, Operation, parse_document
from services.portal.domain.openapi_schemas import Resolver
from services.portal.domain.prose import Block, Span, parse_prose
from services.portal.domain.snippets import CALLS, DRY_RUNS, make_curl, make_python
from tests.portal.public_files import SCHEMAS_DIR
from tillstream import Client

FILES = sorted((SCHEMAS_DIR / "openapi").glob("*.yaml"))


def load(name: str) -> dict[str, Any]:
    raw: dict[str, Any] = yaml.safe_load((SCHEMAS_DIR / "openapi" / f"{name}.yaml").read_text(encoding="utf-8"))
    return raw


def document(name: str) -> ApiDocument:
    return parse_document(name, load(name))


def operation(name: str, operation_id: str) -> Operation:
    found = document(name).find(operation_id)
    assert found is not None
    return found


def build(name: str, operation_id: str, values: dict[str, str], body: str = "") -> ApiRequest:
    built = build_request(operation(name, operation_id), values, body)
    assert isinstance(built, ApiRequest), built
    return built


def test_every_document_that_a_service_serves_is_shown() -> None:
    assert {path.stem for path in FILES} == set(API_ENTRIES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_operation_of_a_document_is_shown_once(path: Path) -> None:
    raw = load(path.stem)
    expected = [item[method]["operationId"] for item in raw["paths"].values() for method in METHODS if method in item]
    shown = document(path.stem).operations
    assert sorted(each.id for each in shown) == sorted(expected)
    assert all(each.summary and each.responses for each in shown)
    assert all(response.description for each in shown for response in each.responses)


def test_an_operation_has_what_its_references_lead_to() -> None:
    found = operation("omnichannel", "importOrders")
    assert (found.method, found.path) == ("POST", "/omnichannel/api/v1/{apiKey}/orders")
    by_name = {each.name: each for each in found.parameters}
    assert (by_name["apiKey"].place, by_name["apiKey"].is_required, by_name["apiKey"].example) == (
        "path",
        True,
        "12345",
    )
    assert by_name["mode"].choices == ["offline", "online"]
    assert found.body is not None
    assert json.loads(found.body.examples[0].text)[1]["id"] == "1723ABC"
    fields = {(row.name, row.depth): row for row in found.body.fields}
    assert fields["id", 0].is_required
    assert fields["quantity", 1].is_required
    assert {response.status for response in found.responses} >= {"200", "202", "429"}


def test_alternatives_and_combinations_are_followed() -> None:
    body = operation("events", "createEndpoint").body
    assert body is not None
    fields = {row.name: row for row in body.fields}
    assert fields["url"].is_required
    assert not fields["types"].is_required
    assert fields["types"].type.startswith("array of job.finished | codes.available")


@pytest.mark.parametrize("reference", ["#/a", "https://elsewhere.example/x.yaml", "#/nothing/there"])
def test_references_that_lead_nowhere_are_errors(reference: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        Resolver({"a": {"$ref": "#/a"}}).resolve({"$ref": reference})


def test_a_request_is_built_from_the_document() -> None:
    values = {"apiKey": "12345", "userId": "a/b ?#ü", "mode": "online", "validateOnly": "true", "X-Request-Id": "r1"}
    request = build("omnichannel", "importOrder", values, '{"id": 1}')
    assert request.method == "PUT"
    assert request.path == ("/omnichannel/api/v1/12345/orders/users/a%2Fb%20%3F%23%C3%BC?mode=online&validateOnly=true")
    assert request.headers == {"X-Request-Id": "r1"}
    assert request.body == '{"id": 1}'


def test_nothing_but_the_documents_parameters_is_sent() -> None:
    values = {"apiKey": "12345", "evil": "1", "Authorization": "x", "Content-Encoding": "gzip", "Host": "evil.example"}
    request = build("omnichannel", "importOrders", values, "[]")
    assert (request.path, request.headers) == ("/omnichannel/api/v1/12345/orders", {})


@pytest.mark.parametrize(
    ("values", "body", "problem"),
    [
        ({}, "", "apiKey is needed."),
        ({"apiKey": ".."}, "", "apiKey cannot be “..”."),
        ({"apiKey": "."}, "", "apiKey cannot be “.”."),
        ({"apiKey": "a" * 2_049}, "", "apiKey has more than 2,048 characters."),
        ({"apiKey": "1", "mode": "both"}, "", "mode is one of offline, online."),
        (
            {"apiKey": "1", "X-Request-Id": "a\r\nHost: evil"},
            "",
            "X-Request-Id may have printable ASCII characters only.",
        ),
        ({"apiKey": "1"}, "{", "The body is not JSON"),
        ({"apiKey": "1"}, "[" * 90_000, "The body is not JSON"),
        ({"apiKey": "1"}, " " + "1" * 102_400, "The body has more than 102,400 characters."),
    ],
)
def test_values_that_cannot_be_sent_are_refused(values: dict[str, str], body: str, problem: str) -> None:
    built = build_request(operation("omnichannel", "importOrders"), values, body)
    assert not isinstance(built, ApiRequest)
    assert len(built) == 1
    assert built[0].startswith(problem)


@pytest.mark.parametrize(
    ("name", "operation_id", "values", "expected"),
    [
        ("omnichannel", "importOrders", {"validateOnly": "true"}, False),
        ("omnichannel", "importOrders", {"validateOnly": "false"}, True),
        ("omnichannel", "importOrders", {}, True),
        ("omnichannel", "readLimits", {}, False),
        ("fulfilment", "createOrder", {"validateOnly": "true"}, True),
        ("ledger", "eraseUser", {}, True),
    ],
)
def test_what_changes_data_is_known(name: str, operation_id: str, values: dict[str, str], *, expected: bool) -> None:
    assert changes_data(operation(name, operation_id), values) is expected


def test_credentials_are_known_by_their_forms() -> None:
    taking = [each.id for each in document("auth").operations if each.takes_credentials]
    assert "issueImportToken" in taking
    assert not [each.id for each in document("events").operations if each.takes_credentials]


def test_a_curl_call_says_exactly_what_is_sent() -> None:
    body = """{"name": "it's $HOME `id`"}"""
    request = ApiRequest(method="POST", path="/a?x=1&y=2", headers={"Prefer": "wait=1"}, body=body)
    words = shlex.split(make_curl("https://api.example", request, has_token=True).replace("\\\n", ""))
    assert words[:5] == ["curl", "-i", "-X", "POST", "https://api.example/a?x=1&y=2"]
    assert words[5:9] == ["-H", "Authorization: Bearer $ACCESS_TOKEN", "-H", "Prefer: wait=1"]
    assert words[-2:] == ["--data-raw", body]


@pytest.mark.parametrize("key", [*CALLS, *DRY_RUNS])
def test_each_python_call_is_a_program_that_uses_a_method_of_the_library(key: tuple[str, str]) -> None:
    name, operation_id = key
    found = operation(name, operation_id)
    values = {each.name: '"}{x}\\' for each in found.parameters}
    request = ApiRequest(method="GET", path="/", headers={}, body='{"a": "\'\'\'\\n"}')
    for is_dry_run in [False, True] if key in DRY_RUNS else [False]:
        program = make_python(name, operation_id, "https://api.example", request, values, is_dry_run=is_dry_run)
        assert program is not None
        tree = ast.parse(program)
        constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        assert '"}{x}\\' in constants or not re.search(r"\{\w+\}", CALLS[key])
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        methods = [call for call in calls if isinstance(call, ast.Attribute) and isinstance(call.value, ast.Attribute)]
        client = Client("https://api.example", "id", "secret", "key")
        with client:
            assert methods
            for method in methods:
                assert isinstance(method.value, ast.Attribute)
                assert callable(getattr(getattr(client, method.value.attr), method.attr))


BODIES = ['[\n  {"id": 1}\n]', r'{"a": "\\"}', r'["\"\"\""]', '{"a": "x"}\r\n', '[""""]', '["""]', '"', '"#{}$`']


@pytest.mark.parametrize("body", BODIES)
def test_the_body_of_a_python_call_is_the_requests(body: str) -> None:
    request = ApiRequest(method="POST", path="/", headers={}, body=body)
    program = make_python("omnichannel", "importOrders", "https://api.example", request, {}, is_dry_run=True)
    assert program is not None
    calls = [node for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Call)]
    (loads,) = [call for call in calls if ast.unparse(call.func) == "json.loads"]
    (argument,) = loads.args
    assert isinstance(argument, ast.Constant)
    assert str(argument.value).strip() == body.replace("\r\n", "\n").strip()


def test_an_operation_without_a_method_has_no_python_call() -> None:
    request = ApiRequest(method="GET", path="/", headers={}, body=None)
    assert make_python("omnichannel", "importOrder", "https://api.example", request, {}, is_dry_run=False) is None


def a_response(body: bytes, media_type: str = "application/json", *, is_whole: bool = True) -> ApiResponse:
    return ApiResponse(
        status=200, reason="OK", headers=[], media_type=media_type, body=body, is_whole=is_whole, duration_ms=1.0
    )


@pytest.mark.parametrize(
    ("response", "text", "note"),
    [
        (a_response(b'{"a":10.2500,"b":1e400}'), '{\n  "a": 10.2500,\n  "b": 1e400\n}', ""),
        (a_response(b"{", "application/problem+json"), "{", ""),
        (a_response(b""), "", "The response has no body."),
        (a_response(b"%PDF\xff\xfe", "application/pdf"), "", "6 bytes of application/pdf."),
        (a_response("aé".encode()[:2], is_whole=False), "a", "Only the beginning is shown."),
        (
            a_response(b"x" * (MAX_SHOWN_CHARACTERS + 1), "text/csv"),
            "x" * MAX_SHOWN_CHARACTERS,
            "Only the beginning is shown.",
        ),
    ],
)
def test_bodies_are_shown_as_they_came(response: ApiResponse, text: str, note: str) -> None:
    shown = show_body(response)
    assert (shown.text, shown.note) == (text, note)


def test_descriptions_are_paragraphs_lists_and_code() -> None:
    assert parse_prose("One `a`,\n**two**.\n\nThen:\n- x\n- `y` z\n") == [
        Block([[Span("One "), Span("a", "code"), Span(", "), Span("two", "strong"), Span(".")]]),
        Block([[Span("Then:")]]),
        Block([[Span("x")], [Span("y", "code"), Span(" z")]], is_list=True),
    ]
