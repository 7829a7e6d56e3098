"""`schemas register`: all versions go into the registry, also into one that is still starting."""

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


class Starting:
    """A registry that answers 503 to so many calls before it takes anything, as one without a primary does."""

    def __init__(self) -> None:
        self.calls = 0
        self.refuses = 0
        self.taken: set[tuple[str, str]] = set()

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/subjects/{subject}/versions", self.register)]

    async def register(self, request: web.Request) -> web.Response:
        self.calls += 1
        if self.calls <= self.refuses:
            raise web.HTTPServiceUnavailable
        self.taken.add((request.match_info["subject"], (await request.json())["schema"]))
        return web.json_response({"id": len(self.taken)})


@pytest.fixture
def starting() -> Starting:
    return Starting()


@pytest.fixture
async def address(starting: Starting) -> AsyncIterator[str]:
    listener = HttpServer(build_application(starting.routes()), host="127.0.0.1", port=0)
    await listener.start()
    yield f"http://{listener.address}"
    await listener.stop()


async def registered(address: str, **told: str) -> Result:
    environment = {"SCHEMA_REGISTRY_URL": address, **told}
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, ["schemas", "register"], env=environment))


async def test_a_registry_that_is_still_starting_is_waited_for(starting: Starting, address: str) -> None:
    starting.refuses = 2
    done = await registered(address)
    assert done.exit_code == 0, done.output
    assert f"{len(starting.taken)} versions are in the registry" in done.output


async def test_every_version_is_put_under_every_topic_that_uses_it(
    starting: Starting, address: str, tmp_path: Path
) -> None:
    """What was written with the one before is still in Kafka."""
    directory = tmp_path / "schemas"
    shutil.copytree(REPOSITORY / "schemas", directory)
    schema_compatibility.release(directory)
    schema_compatibility.begin_version(directory, "order")
    path = directory / "order.avsc"
    path.write_text(path.read_text().replace('"doc": "', '"doc": "New: ', 1))
    done = await registered(address, SCHEMAS_DIR=str(directory))
    assert done.exit_code == 0, done.output
    versions = {version.text for version in Schemas.load(directory).versions["order"].values()}
    assert len(versions) == 2
    for topic in ("orders.submitted.v1", "orders.validated.v1"):
        assert {text for subject, text in starting.taken if subject == f"{topic}-value"} == versions


async def test_one_that_stays_away_is_told(starting: Starting, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas, "REGISTRY_WITHIN_S", 0.0)
    starting.refuses = 1_000
    done = await registered(address)
    assert (done.exit_code, done.output) == (1, "the schema registry is away\n")
