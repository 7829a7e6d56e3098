"""How the service is put together."""

from services.chassis.http.server import HttpServer
from services.chassis.mongodb.client import Mongo
from services.status.adapters.notifier import JobNotifier
from services.status.app import build
from services.status.settings import Settings


async def test_who_waits_is_let_go_before_the_listener_waits_for_what_is_in_flight() -> None:
    """Parts stop in reverse order; the time that a wait takes would be taken from all that stop later."""
    service = await build(Settings(auth_jwks_url="http://127.0.0.1:1/keys"))
    stopping = [type(part) for part in reversed(service.components)]
    assert stopping.index(JobNotifier) < stopping.index(HttpServer)
    for part in service.components:
        if isinstance(part, Mongo):
            await part.close()
