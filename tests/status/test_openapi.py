"""The hand-written document says what the API does."""

import json
from typing import Any

import jsonschema
import pytest
import yaml
from openapi_spec_validator import validate

from services.chassis.runtime.settings import REPOSITORY
from tests.jobs.events import a_header, a_run, expired, judged, opened
from tests.status.api_fixtures import EXAMPLES, JOB_PATH, ApiClient, api

DOCUMENT: Any = yaml.safe_load((REPOSITORY / "schemas/openapi/common-status.yaml").read_text(encoding="utf-8"))

__all__ = ["api"]


def matches(body: Any, name: str) -> None:
    jsonschema.validate(body, {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]})


def test_the_document_is_well_formed() -> None:
    validate(DOCUMENT)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_it_describes_the_printed_samples(name: str) -> None:
    sample = json.loads(json.dumps(EXAMPLES[name]))
    sample["summary"]["job"] |= {"state": "FAILED", "terminal": True, "completedAt": None}
    matches(sample, "Events")


async def test_it_lists_the_routes_that_there_are(api: ApiClient) -> None:
    routes = {
        route.resource.canonical
        for route in api.client.server.app.router.routes()  # type: ignore[attr-defined]
        if route.resource is not None
    }
    assert routes == set(DOCUMENT["paths"])


async def test_answers_are_as_it_says(api: ApiClient) -> None:
    header = a_header(4)
    await api.apply(opened(header), judged(a_run("SF"), header), expired(header))
    matches(await api.read(showAll=1), "Events")
    for outcome in ("succeeded", "failed", "unprocessed"):
        for record in (await api.read(JOB_PATH + "/records", outcome=outcome))["result"]:
            matches(record, "Record")
    for job in (await api.read("/common-status/v1/12345/jobs"))["result"]:
        matches(job, "Job")
    response = await api.get(JOB_PATH + "/events", rows=0)
    matches(await response.json(content_type=None), "Problem")


async def test_it_is_served(api: ApiClient) -> None:
    response = await api.client.get("/common-status/openapi.yaml")
    assert yaml.safe_load(await response.text()) == DOCUMENT
