"""Kafka and MongoDB in containers, through testcontainers."""

import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sandbox.kafka import FAST_START_OPTIONS
from sandbox.kafka_settings import COMMON_SETTINGS, SINGLE_NODE_SETTINGS

KAFKA_IMAGE = "apache/kafka:4.3.1"
MONGO_IMAGE = "mongo:7"
KAFKA_PORT = 9094
MONGO_PORT = 27017
# The broker must advertise the port that Docker chose, which is known only once the container runs.
ADDRESS_FILE = "/tmp/address.sh"  # noqa: S108 - inside the container
WAIT_FOR_ADDRESS = f"while [ ! -f {ADDRESS_FILE} ]; do sleep 0.1; done; . {ADDRESS_FILE}; exec /etc/kafka/docker/run"
KAFKA_SETTINGS = {
    # The same settings as an embedded broker.
    **COMMON_SETTINGS,
    **SINGLE_NODE_SETTINGS,
    "node.id": "1",
    "listeners": f"BROKER://:9092,CONTROLLER://:9093,EXTERNAL://:{KAFKA_PORT}",
    "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,EXTERNAL:PLAINTEXT",
    "inter.broker.listener.name": "BROKER",
    "controller.quorum.voters": "1@localhost:9093",
}


def are_available() -> bool:
    """Whether Docker answers and has both images."""
    program = shutil.which("docker")
    if program is None:
        return False
    command = [program, "image", "inspect", "--format", "{{.Id}}", KAFKA_IMAGE, MONGO_IMAGE]
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=5).returncode == 0
    except subprocess.TimeoutExpired:
        return False


@contextmanager
def kafka() -> Iterator[str]:
    """Run a broker; yield its address."""
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - only where Docker is
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy  # noqa: PLC0415 - only where Docker is

    container = DockerContainer(KAFKA_IMAGE).with_exposed_ports(KAFKA_PORT).with_command(["sh", "-c", WAIT_FOR_ADDRESS])
    container.with_env("KAFKA_HEAP_OPTS", "-Xmx512m").with_env(
        "KAFKA_JVM_PERFORMANCE_OPTS", " ".join(FAST_START_OPTIONS)
    )
    for name, value in KAFKA_SETTINGS.items():
        container.with_env(f"KAFKA_{name.replace('.', '_').upper()}", value)
    with container:
        address = f"{container.get_container_host_ip()}:{container.get_exposed_port(KAFKA_PORT)}"
        advertised = f"export KAFKA_ADVERTISED_LISTENERS=BROKER://localhost:9092,EXTERNAL://{address}\n"
        container.get_wrapped_container().put_archive("/", _archive(ADDRESS_FILE, advertised))
        LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(60).wait_until_ready(container)
        yield address


@contextmanager
def mongodb() -> Iterator[str]:
    """Run a replica set of one member; yield its URI."""
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - only where Docker is
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy  # noqa: PLC0415 - only where Docker is

    container = DockerContainer(MONGO_IMAGE).with_exposed_ports(MONGO_PORT)
    with container.with_command(["--replSet", "rs0", "--bind_ip_all"]):
        LogMessageWaitStrategy("Waiting for connections").with_startup_timeout(60).wait_until_ready(container)
        port = container.get_exposed_port(MONGO_PORT)
        uri = f"mongodb://{container.get_container_host_ip()}:{port}/?directConnection=true"
        _make_primary(uri)
        yield uri


def _make_primary(uri: str) -> None:
    from pymongo import MongoClient  # noqa: PLC0415 - beside the other imports of this path

    from sandbox.polling import wait_until  # noqa: PLC0415 - only where Docker is

    members = [{"_id": 0, "host": f"localhost:{MONGO_PORT}"}]
    client: MongoClient[dict[str, Any]]
    with MongoClient(uri, serverSelectionTimeoutMS=10_000) as client:
        client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
        wait_until(
            lambda: bool(client.admin.command("hello").get("isWritablePrimary")), deadline_s=30, description="MongoDB"
        )


def _archive(path: str, text: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        entry = tarfile.TarInfo(path.lstrip("/"))
        entry.size = len(text.encode())
        entry.mode = 0o644
        archive.addfile(entry, io.BytesIO(text.encode()))
    return file.getvalue()
