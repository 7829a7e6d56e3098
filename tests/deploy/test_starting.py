"""Each service starts with the environment of compose and of the manifests: as a process, on real servers.

Addresses of other containers are replaced by local ones; schema registry and shared rate limit have no replacement.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from sandbox.kafka import KafkaCluster
from sandbox.mongo import ReplicaSet
from sandbox.polling import wait_until
from sandbox.ports import free_ports
from sandbox.probes import http_get
from tests.deploy import compose, manifests
from tests.deploy.manifests import REPOSITORY
from tests.deploy.service_settings import KAFKA_NAMES, NAMES

READY_TIMEOUT_S = 90
EXIT_TIMEOUT_S = 10
READY_AFTER_LAST_S = 30
# There is no schema registry here, and no broker with TLS.
# The client library, which the image has beside the services.
CLIENT = str(REPOSITORY / "clients" / "python")
OMITTED = {"SCHEMA_REGISTRY_URL", "KAFKA_SECURITY_PROTOCOL", "KAFKA_SSL_CAFILE"}


@dataclass(frozen=True, slots=True)
class LocalServers:
    """The local replacements of the other containers."""

    kafka: str
    mongodb: str
    secrets: Path
    ports: dict[str, tuple[int, int]]

    def environment(self, variables: dict[str, str], service: str) -> dict[str, str]:
        """Return the environment of a service with local addresses."""
        api, operations = self.ports[service]
        replacements = {
            "kafka:9092": self.kafka,
            "tillstream-kafka-bootstrap:9093": self.kafka,
            "mongodb://mongodb:27017/?replicaSet=rs0": self.mongodb,
            "http://auth:8080": f"http://127.0.0.1:{self.ports['auth'][0]}",
            "/secrets/": f"{self.secrets}/",
        }
        made = {}
        for name, value in variables.items():
            for remote, local in replacements.items():
                value = value.replace(remote, local)  # noqa: PLW2901 - one after the other
            made[name] = value
        own = {
            "HTTP_HOST": "127.0.0.1",
            "HTTP_PORT": str(api),
            "OPERATIONS_HOST": "127.0.0.1",
            "OPERATIONS_PORT": str(operations),
            "MONGODB_DATABASE": f"deploy_{uuid4().hex[:8]}",
            # A static member stays in its group for a while after its exit.
            "VALIDATOR_GROUP": f"validator-{uuid4().hex[:8]}",
            "PATH": os.environ["PATH"],
            "PYTHONPATH": CLIENT,
        }
        if service == "auth":
            own["ADMIN_PORT"] = str(*free_ports(1))
        return {name: value for name, value in made.items() if name not in OMITTED} | own


def write_secrets(directory: Path, mongodb_uri: str) -> Path:
    """Write the secrets as files, like mounted secrets."""
    texts = {f"keys/{name}": f"{value}\n" for name, value in compose.example_values().items()}
    for name, text in {**texts, "mongodb/uri": mongodb_uri, "kafka/password": "unused"}.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return directory


def free_service_ports() -> dict[str, tuple[int, int]]:
    ports = iter(free_ports(2 * len(NAMES)))
    return {name: (next(ports), next(ports)) for name in NAMES}


def create_topics(bootstrap: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "services", "topics", "create"],
        cwd=REPOSITORY,
        env={"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "PATH": os.environ["PATH"]},
        check=True,
        capture_output=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def here(kafka_bootstrap: str, mongodb_uri: str, tmp_path_factory: pytest.TempPathFactory) -> LocalServers:
    """Servers with all topics."""
    create_topics(kafka_bootstrap)
    secrets = write_secrets(tmp_path_factory.mktemp("secrets"), mongodb_uri)
    return LocalServers(kafka_bootstrap, mongodb_uri, secrets, free_service_ports())


@dataclass(frozen=True, slots=True)
class Processes:
    """The services as processes."""

    here: LocalServers
    logs: Path
    started: dict[str, "subprocess.Popen[bytes]"]

    def start(self, where: str) -> None:
        """Start all services with the environment of compose or of an overlay."""
        for name in NAMES:
            variables = compose.environment(name) if where == "compose" else manifests.environment(where, name)
            with (self.logs / f"{name}.log").open("wb") as log:
                self.started[name] = subprocess.Popen(
                    [sys.executable, "-m", f"services.{name}"],
                    cwd=REPOSITORY,
                    env=self.here.environment(variables, name),
                    stdout=log,
                    stderr=log,
                )

    def readiness(self, name: str) -> int | None:
        """Return the status of `/ready`; None while the service does not listen."""
        log = self.logs / f"{name}.log"
        assert self.started[name].poll() is None, f"{name} exited: {log.read_text(encoding='utf-8')[-2000:]}"
        response = http_get(f"http://127.0.0.1:{self.here.ports[name][1]}/ready")
        return None if response is None else response[0]

    def all_have_readiness(self, status: int) -> bool:
        return all(self.readiness(name) == status for name in NAMES)

    def terminate(self) -> dict[str, int | None]:
        """Send SIGTERM to all; return their exit codes."""
        for process in self.started.values():
            process.send_signal(signal.SIGTERM)
        running = self.started.values()
        wait_until(
            lambda: all(one.poll() is not None for one in running),
            deadline_s=EXIT_TIMEOUT_S,
            description="not all ended",
        )
        return {name: process.returncode for name, process in self.started.items()}


@pytest.fixture
def started() -> Iterator[dict[str, "subprocess.Popen[bytes]"]]:
    """Processes by service; those still running are killed after the test."""
    made: dict[str, subprocess.Popen[bytes]] = {}
    yield made
    for process in made.values():
        process.kill()
        process.wait()


@pytest.mark.timeout(2 * READY_TIMEOUT_S)
@pytest.mark.parametrize("where", ["compose", "dev", "prod"])
def test_every_service_gets_ready_and_ends_when_asked_to(
    here: LocalServers, where: str, started: dict[str, "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    services = Processes(here, tmp_path, started)
    services.start(where)
    wait_until(lambda: services.all_have_readiness(200), deadline_s=READY_TIMEOUT_S, description="not all are ready")
    assert services.terminate() == dict.fromkeys(NAMES, 0)


@pytest.mark.parametrize("name", NAMES)
def test_a_service_that_is_stopped_during_its_imports_has_not_failed(name: str) -> None:
    command = [sys.executable, "-m", f"services.{name}"]
    with subprocess.Popen(command, cwd=REPOSITORY, env={"PATH": os.environ["PATH"], "PYTHONPATH": CLIENT}) as process:
        try:
            maps = Path(f"/proc/{process.pid}/maps")
            # One of the first of the libraries that all services import.
            wait_until(lambda: "pydantic_core" in maps.read_text(), deadline_s=30, description="it imports nothing")
            process.send_signal(signal.SIGTERM)
            assert process.wait(EXIT_TIMEOUT_S) == 0
        finally:
            process.kill()


@pytest.mark.long
@pytest.mark.timeout(4 * READY_TIMEOUT_S)
def test_whoever_starts_first_waits_for_the_others(
    started: dict[str, "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    """F27. Breaks: the services start first, then MongoDB, then Kafka. Must hold: ready after that, and not before."""
    kafka, mongodb = KafkaCluster(tmp_path / "kafka"), ReplicaSet(tmp_path / "mongodb")
    (tmp_path / "secrets").mkdir()
    here = LocalServers(
        kafka.bootstrap_servers, mongodb.uri, write_secrets(tmp_path / "secrets", mongodb.uri), free_service_ports()
    )
    services = Processes(here, tmp_path, started)
    services.start("compose")
    wait_until(lambda: services.all_have_readiness(503), deadline_s=READY_TIMEOUT_S, description="not all are there")
    with mongodb:
        wait_until(
            lambda: services.readiness("auth") == 200, deadline_s=READY_TIMEOUT_S, description="auth needs MongoDB only"
        )
        assert not [name for name in KAFKA_NAMES if name != "auth" and services.readiness(name) == 200]
        with kafka:
            create_topics(kafka.bootstrap_servers)
            wait_until(
                lambda: services.all_have_readiness(200), deadline_s=READY_AFTER_LAST_S, description="not all are ready"
            )
            assert services.terminate() == dict.fromkeys(NAMES, 0)
