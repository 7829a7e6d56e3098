"""The services' routes and the documented operations are the same, and each belongs to one service."""

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
from services.ledger import app as ledger
from services.ledger.settings import Settings as LedgerSettings
from services.operator import app as operator
from services.operator.settings import Settings as OperatorSettings
from services.status import app as status
from services.status.settings import Settings as StatusSettings
from services.webhooks import app as webhooks
from services.webhooks.settings import Settings as WebhooksSettings
from tests.openapi.documents import Operation, load_document, operations

# Confluent defines and documents the registry's protocol.
UNDOCUMENTED = ("/registry",)
# Routes of the operations port.
INTERNAL = ("/live", "/ready", "/metrics")

COMPOSED: dict[str, tuple[Callable[[Any], Coroutine[Any, Any, Service]], type[Any]]] = {
    "auth": (auth.build, AuthSettings),
    "omnichannel": (ingest.build, IngestSettings),
    "common-status": (status.build, StatusSettings),
    "ledger": (ledger.build, LedgerSettings),
    "events": (webhooks.build, WebhooksSettings),
    "operator": (operator.build, OperatorSettings),
}


def service_routes(service: Service) -> set[Operation]:
    """Return the routes of the service's HTTP servers."""
    found = set()
    for component in service.components:
        if isinstance(component, HttpServer):
            for route in component._runner.app.router.routes():
                path = route.resource.canonical if route.resource is not None else ""
                if route.method != "HEAD" and not path.startswith(UNDOCUMENTED + INTERNAL):
                    found.add(Operation(route.method, path))
    return found


@pytest.mark.parametrize("name", sorted(COMPOSED))
async def test_routes_and_document_are_the_same(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Building a service is enough to know its routes; nothing is started."""
    monkeypatch.setenv("PAGE_TOKEN_KEY", "a secret of at least thirty-two characters")
    keys = ("ERASURE_KEY", "AUTH_KEY_ENCRYPTION_KEY", "WEBHOOKS_ENCRYPTION_KEYS", "WEBHOOKS_SIGNING_KEYS")
    for name_of_key in keys:
        monkeypatch.setenv(name_of_key, b64encode(bytes(32)).decode())
    monkeypatch.chdir(tmp_path)
    compose, settings = COMPOSED[name]
    assert service_routes(await compose(settings())) == set(operations(load_document(name)))
