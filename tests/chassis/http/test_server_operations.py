"""The operations port: health and metrics."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from prometheus_client import REGISTRY as OTHER_REGISTRY

from services.chassis.http.server import operations_server
from services.chassis.runtime import metrics
from services.chassis.runtime.health import Health
from tests.chassis.http.server_fixtures import a_problem, request_counts


@pytest.fixture
async def operating() -> AsyncIterator[tuple[Health, aiohttp.ClientSession]]:
    health = Health()
    listener = operations_server(health, host="127.0.0.1", port=0)
    await listener.start()
    async with aiohttp.ClientSession(f"http://{listener.address}") as session:
        yield health, session
    await listener.stop()


Operating = tuple[Health, aiohttp.ClientSession]


@pytest.mark.parametrize(("path", "name"), [("/live", "loop"), ("/ready", "kafka")])
async def test_the_operations_port_tells_of_health(operating: Operating, path: str, name: str) -> None:
    health, session = operating
    says = {"yes": True}
    health.live_while("loop", lambda: says["yes"])
    health.ready_when("kafka", lambda: says["yes"])
    for status, good in ((200, True), (503, False)):
        says["yes"] = good
        async with session.get(path) as response:
            assert response.status == status
            document = await response.json()
        assert document["ok"] is good
        assert document["parts"][name] is good


async def test_who_drains_is_not_ready(operating: Operating) -> None:
    health, session = operating
    health.draining = True
    async with session.get("/ready") as ready, session.get("/live") as live:
        assert (ready.status, live.status) == (503, 200)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [("*/*", "text/plain"), ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text")],
)
async def test_metrics_come_as_text_or_as_openmetrics(operating: Operating, accept: str, content_type: str) -> None:
    _, session = operating
    async with session.get("/metrics", headers={"Accept": accept}) as response:
        assert response.content_type == content_type
        text = await response.text()
    assert "# HELP http_request_seconds Duration of a request" in text
    assert text.endswith("# EOF\n") == ("openmetrics" in content_type)
    assert metrics.REGISTRY is not OTHER_REGISTRY


async def test_the_operations_port_speaks_problems_and_is_not_measured(operating: Operating) -> None:
    _, session = operating
    before = request_counts("/live")
    async with session.get("/nowhere", headers={"X-Request-Id": "r-2"}) as response:
        assert response.status == 404
        assert (await a_problem(response))["requestId"] == "r-2"
    async with session.get("/live") as response:
        assert response.headers["X-Request-Id"]
    assert request_counts("/live") == before == {}
