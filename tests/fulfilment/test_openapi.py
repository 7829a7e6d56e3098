"""The OpenAPI document is valid, complete and served."""

import yaml
from aiohttp.test_utils import TestServer
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from tests.fulfilment.api_fixtures import DOCUMENT, ApiClient, api

__all__ = ["api"]


def test_the_description_is_valid() -> None:
    validate(DOCUMENT)


def test_routes_and_description_are_the_same(api: ApiClient) -> None:
    server = api.client.server
    assert isinstance(server, TestServer)
    routes = {
        (route.method, route.resource.canonical)
        for route in server.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    described = {
        (method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item if method != "parameters"
    }
    assert routes == described


def test_the_examples_fit_their_schemas() -> None:
    for item in DOCUMENT["paths"].values():
        for operation in item.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                check = Draft202012Validator({**content["schema"], "components": DOCUMENT["components"]})
                for example in content["examples"].values():
                    check.validate(example["value"])


async def test_it_describes_itself(api: ApiClient) -> None:
    response = await api.client.get("/fulfilment/openapi.yaml")
    assert response.status == 200
    assert yaml.safe_load(await response.text()) == DOCUMENT
