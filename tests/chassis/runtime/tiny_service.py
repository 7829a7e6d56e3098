"""A service without a task, for the lifecycle tests; its argument selects how it fails."""

import asyncio
import sys

from aiohttp import web

from services.chassis.http.responses import json_response
from services.chassis.http.server import HttpServer, build_application, operations_server
from services.chassis.runtime import lifecycle
from services.chassis.runtime.background import StartupTask
from services.chassis.runtime.errors import ChangedSettingError
from services.chassis.runtime.health import Health
from services.chassis.runtime.logs import logger
from services.chassis.runtime.settings import ServiceSettings, load

_LOG = logger("tiny")


class LoggingComponent:
    """A component that logs its calls and fails on demand."""

    def __init__(self, name: str, behaviour: str = "") -> None:
        self.name = name
        self.behaviour = behaviour

    async def start(self) -> None:
        """Start, or not."""
        _LOG.info("started", what=self.name)
        if self.behaviour == "start-fails":
            raise OSError("no port")

    async def stop(self) -> None:
        """Stop, or not."""
        _LOG.info("stopping", what=self.name)
        if self.behaviour == "stop-fails":
            raise RuntimeError("a defect")
        if self.behaviour == "stop-hangs":
            await asyncio.Event().wait()


async def find_changed_setting() -> None:
    """A step that finds another key than the stored one."""
    raise ChangedSettingError("CODE_DIGEST_KEY")


async def compose(settings: ServiceSettings, behaviour: str) -> lifecycle.Service:
    """Build the service; one component fails on demand."""
    if behaviour == "compose-fails":
        raise ValueError("no such thing")
    if behaviour == "compose-hangs":
        _LOG.info("composing")
        await asyncio.Event().wait()
    health, entered, opened = Health(), asyncio.Event(), asyncio.Event()

    async def hold(_request: web.Request) -> web.Response:
        entered.set()
        _LOG.info("held")
        await opened.wait()
        return json_response({"held": True})

    async def release(_request: web.Request) -> web.Response:
        asyncio.get_running_loop().call_later(0.3, opened.set)
        return json_response({})

    api = HttpServer(
        build_application([web.get("/hold", hold), web.get("/release", release)]), host="127.0.0.1", port=0, drain_s=5
    )
    face = operations_server(health, host=settings.operations_host, port=settings.operations_port)
    parts: list[lifecycle.Component] = [
        face,
        LoggingComponent("first"),
        LoggingComponent("second", behaviour),
        LoggingComponent("third"),
        api,
    ]
    if behaviour == "setting-changed":
        parts.insert(1, StartupTask([find_changed_setting]))
    return lifecycle.Service(name="tiny", health=health, components=parts, heartbeat_s=0.02)


if __name__ == "__main__":
    given = load(ServiceSettings)
    lifecycle.run("tiny", given, lambda: compose(given, sys.argv[1]))
