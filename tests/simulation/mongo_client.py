"""A client of the simulated replica set with the interface of PyMongo's asynchronous one."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

from pymongo.errors import AutoReconnect, NetworkTimeout

from tests.simulation.mongo_collection import SimulatedCollection
from tests.simulation.mongo_session import SimulatedSession
from tests.simulation.network import ANSWER, REQUEST, LostError, Network
from tests.simulation.replica_set import ReplicaSet

SERVER = "mongodb"
# Pause between two searches for a primary.
SELECTION_S = 0.05


class SimulatedMongoClient:
    """Connects to the replica set of `cluster`, over `network`; both belong to the whole simulation."""

    cluster: ReplicaSet
    network: Network

    def __init__(self, uri: str, **options: Any) -> None:
        self.uri = uri
        self.retries_writes = bool(options.get("retryWrites", True))
        self.timeout_s = options["timeoutMS"] / 1000
        self.topology_description = SimpleNamespace(has_writable_server=lambda: self.cluster.has_primary)

    def get_database(self, _name: str, write_concern: Any = None) -> "SimulatedDatabase":
        return SimulatedDatabase(self, write_concern)

    def start_session(self, *, snapshot: bool = False) -> SimulatedSession:
        return SimulatedSession(self, is_snapshot=snapshot)

    async def close(self) -> None:
        """Do nothing: there are no connections."""

    async def call(self, work: Callable[[], Awaitable[Any]], *, is_write: bool, retries: bool = True) -> Any:
        """Send a command and return its answer; raises what PyMongo raises when that fails."""
        try:
            async with asyncio.timeout(self.timeout_s):
                try:
                    return await self._attempt(work, is_write=is_write)
                except AutoReconnect:
                    if not retries or (is_write and not self.retries_writes):
                        raise
                return await self._attempt(work, is_write=is_write)
        except TimeoutError as error:
            raise NetworkTimeout("timed out") from error

    async def _attempt(self, work: Callable[[], Awaitable[Any]], *, is_write: bool) -> Any:
        while not self.cluster.has_primary:  # noqa: ASYNC110 - as the driver does
            await asyncio.sleep(SELECTION_S)
        try:
            await self.network.travel(SERVER, REQUEST)
            if not self.cluster.has_primary:
                raise AutoReconnect("connection closed")
            result = await (self._detached(work) if is_write else work())
            await self.network.travel(SERVER, ANSWER)
        except LostError:
            raise AutoReconnect("connection closed") from None
        return result

    @staticmethod
    async def _detached(work: Callable[[], Awaitable[Any]]) -> Any:
        """Run a command that goes on when its client has gone."""
        command = asyncio.ensure_future(work())
        command.add_done_callback(_retrieve)
        return await asyncio.shield(command)


def _retrieve(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()


class SimulatedDatabase:
    """The database of a client."""

    def __init__(self, client: SimulatedMongoClient, write_concern: Any) -> None:
        self.client = client
        self.write_concern = write_concern

    def __getitem__(self, name: str) -> SimulatedCollection:
        return SimulatedCollection(self, name, self.write_concern)

    async def command(self, _command: Any, *_arguments: Any, **_options: Any) -> dict[str, Any]:
        async def answer() -> dict[str, Any]:
            return {"ok": 1.0}

        result: dict[str, Any] = await self.client.call(answer, is_write=False)
        return result
