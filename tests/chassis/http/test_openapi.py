from pathlib import Path

import aiohttp

from services.chassis.http.openapi import openapi_route
from services.chassis.http.server import build_application
from tests.chassis.http.server_fixtures import listening


async def test_the_document_is_served_as_it_was_at_the_start(tmp_path: Path) -> None:
    document = tmp_path / "api.yaml"
    document.write_bytes("title: Größe\n".encode())
    app = build_application([openapi_route("/api.yaml", document)])
    document.write_bytes(b"changed")
    async with listening(app) as server, aiohttp.ClientSession(f"http://{server.address}") as client:
        response = await client.get("/api.yaml")
        assert (response.status, await response.text()) == (200, "title: Größe\n")
        assert response.headers["Content-Type"] == "application/yaml; charset=utf-8"
