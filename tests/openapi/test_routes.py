"""The routes that services have, and those that the documents describe, are the same; each belongs to one service."""

from base64 import b64encode
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from services.auth import app as auth
from services.auth.settings import AuthSettings
from services.chassis.http.server import HttpServer
from services.chassis.runtime.lifecycle import Service
from services.ingest import app as ingest
from services.ingest.settings import Settings as IngestSettings
from services.status import app as status
from services.status.settings import Settings as StatusSettings
from tests.openapi.documents import Operation, operations, read

# The registry's protocol is Confluent's, and described by them.
FOREIGN = ("/registry",)
# The operations port's.
INTERNAL = ("/live", "/ready", "/metrics")

COMPOSED: dict[str, tuple[Callable[[Any], Coroutine[Any, Any, Service]], type[Any]]] = {
    "auth": (auth.build, AuthSettings),
    "omnichannel": (ingest.build, IngestSettings),
    "common-status": (status.build, StatusSettings),
}


def routes_of(service: Service) -> set[Operation]:
    """What the service's listeners answer."""
    found = set()
    for part in service.components:
        if isinstance(part, HttpServer):
            for route in part._runner.app.router.routes():
                path = route.resource.canonical if route.resource is not None else ""
                if route.method != "HEAD" and not path.startswith(FOREIGN + INTERNAL):
                    found.add(Operation(route.method, path))
    return found


@pytest.mark.parametrize("name", sorted(COMPOSED))
async def test_routes_and_document_are_the_same(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is started: what a service would answer is known once it is put together."""
    monkeypatch.setenv("PAGE_TOKEN_KEY", "a secret of at least thirty-two characters")
    monkeypatch.setenv("AUTH_KEY_ENCRYPTION_KEY", b64encode(bytes(32)).decode())
    monkeypatch.chdir(tmp_path)
    compose, settings = COMPOSED[name]
    assert routes_of(await compose(settings())) == set(operations(read(name)))
