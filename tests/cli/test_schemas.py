"""`schemas register`: registers all versions, and waits for a registry that is starting."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from typer.testing import CliRunner, Result

from services.__main__ import app
from services.chassis.avro.schemas import Schemas
from services.chassis.http.server import HttpServer, build_application
from services.chassis.runtime.settings import REPOSITORY
from services.cli import schema_compatibility, schemas


class StartingRegistry:
    """Answers 503 to the first `unavailable_calls` calls, like a registry without a primary."""

    def __init__(self) -> None:
        self.calls = 0
        self.unavailable_calls = 0
        self.registered: set[tuple[str, str]] = set()

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/subjects/{subject}/versions", self.register)]

    async def register(self, request: web.Request) -> web.Response:
        self.calls += 1
        if self.calls <= self.unavailable_calls:
            raise web.HTTPServiceUnavailable
        self.registered.add((request.match_info["subject"], (await request.json())["schema"]))
        return web.json_response({"id": len(self.registered)})


@pytest.fixture
def registry() -> StartingRegistry:
    return StartingRegistry()


@pytest.fixture
async def address(registry: StartingRegistry) -> AsyncIterator[str]:
    server = HttpServer(build_application(registry.routes()), host="127.0.0.1", port=0)
    await server.start()
    yield f"http://{server.address}"
    await server.stop()


async def register(address: str, **environment: str) -> Result:
    environment = {"SCHEMA_REGISTRY_URL": address, **environment}
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, ["schemas", "register"], env=environment))


async def test_a_registry_that_is_still_starting_is_waited_for(registry: StartingRegistry, address: str) -> None:
    registry.unavailable_calls = 2
    result = await register(address)
    assert result.exit_code == 0, result.output
    assert f"{len(registry.registered)} versions registered" in result.output


async def test_every_version_is_put_under_every_topic_that_uses_it(
    registry: StartingRegistry, address: str, tmp_path: Path
) -> None:
    """Records of earlier versions are still in Kafka."""
    directory = tmp_path / "schemas"
    shutil.copytree(REPOSITORY / "schemas", directory)
    schema_compatibility.release(directory)
    schema_compatibility.add_version(directory, "order")
    path = directory / "order.avsc"
    path.write_text(path.read_text().replace('"doc": "', '"doc": "New: ', 1))
    result = await register(address, SCHEMAS_DIR=str(directory))
    assert result.exit_code == 0, result.output
    versions = {version.text for version in Schemas.load(directory).versions["order"].values()}
    assert len(versions) == 2
    for topic in ("orders.submitted.v1", "orders.validated.v1"):
        assert {text for subject, text in registry.registered if subject == f"{topic}-value"} == versions


async def test_one_that_stays_away_is_told(
    registry: StartingRegistry, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schemas, "REGISTRY_TIMEOUT_S", 0.0)
    registry.unavailable_calls = 1_000
    result = await register(address)
    assert (result.exit_code, result.output) == (1, "the schema registry is unavailable\n")
