"""Each service starts from the environment that compose and the manifests write down: as a process, on real servers.

What names another container is replaced by what stands for it here; the registry and the shared limit have no stand-in.
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

from sandbox.ports import free_port
from sandbox.probes import http_answer
from sandbox.waiting import until
from tests.deploy import compose, manifests
from tests.deploy.declared import NAMES
from tests.deploy.manifests import REPOSITORY

READY_WITHIN_S = 90
EXIT_WITHIN_S = 10
# There is no registry here, and no broker that speaks TLS.
LEFT_OUT = {"SCHEMA_REGISTRY_URL", "KAFKA_SECURITY_PROTOCOL", "KAFKA_SSL_CAFILE"}


@dataclass(frozen=True, slots=True)
class Here:
    """What stands for the other containers."""

    kafka: str
    mongodb: str
    secrets: Path
    ports: dict[str, tuple[int, int]]

    def environment(self, told: dict[str, str], service: str) -> dict[str, str]:
        """What a service is told, with addresses of this machine."""
        api, operations = self.ports[service]
        replaced = {
            "kafka:9092": self.kafka,
            "tillstream-kafka-bootstrap:9093": self.kafka,
            "mongodb://mongodb:27017/?replicaSet=rs0": self.mongodb,
            "http://auth:8080": f"http://127.0.0.1:{self.ports['auth'][0]}",
            "/secrets/": f"{self.secrets}/",
        }
        made = {}
        for name, value in told.items():
            for there, here in replaced.items():
                value = value.replace(there, here)  # noqa: PLW2901 - one after the other
            made[name] = value
        own = {
            "HTTP_HOST": "127.0.0.1",
            "HTTP_PORT": str(api),
            "OPERATIONS_HOST": "127.0.0.1",
            "OPERATIONS_PORT": str(operations),
            "MONGODB_DATABASE": f"deploy_{uuid4().hex[:8]}",
            "PATH": os.environ["PATH"],
        }
        return {name: value for name, value in made.items() if name not in LEFT_OUT} | own


@pytest.fixture(scope="module")
def here(kafka_bootstrap: str, mongodb_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Here:
    """Servers with every topic, and the secrets as files."""
    secrets = tmp_path_factory.mktemp("secrets")
    for name, value in compose.example().items():
        path = secrets / "keys" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{value}\n", encoding="utf-8")
    for path, text in ((secrets / "mongodb" / "uri", mongodb_uri), (secrets / "kafka" / "password", "not asked for")):
        path.parent.mkdir()
        path.write_text(text, encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "services", "topics", "create"],
        cwd=REPOSITORY,
        env={"KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap, "PATH": os.environ["PATH"]},
        check=True,
        capture_output=True,
        timeout=60,
    )
    return Here(kafka_bootstrap, mongodb_uri, secrets, {name: (free_port(), free_port()) for name in NAMES})


@pytest.fixture
def processes() -> Iterator[dict[str, "subprocess.Popen[bytes]"]]:
    """Started ones, by service; what a test leaves behind is killed."""
    started: dict[str, subprocess.Popen[bytes]] = {}
    yield started
    for process in started.values():
        process.kill()
        process.wait()


@pytest.mark.timeout(2 * READY_WITHIN_S)
@pytest.mark.parametrize("where", ["compose", "dev", "prod"])
def test_every_service_gets_ready_and_ends_when_asked_to(
    here: Here, where: str, processes: dict[str, "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    for name in NAMES:
        told = compose.environment(name) if where == "compose" else manifests.environment(where, name)
        with (tmp_path / f"{name}.log").open("wb") as log:
            processes[name] = subprocess.Popen(
                [sys.executable, "-m", f"services.{name}"],
                cwd=REPOSITORY,
                env=here.environment(told, name),
                stdout=log,
                stderr=log,
            )

    def words(name: str) -> str:
        return (tmp_path / f"{name}.log").read_text(encoding="utf-8")[-2000:]

    def is_ready(name: str) -> bool:
        assert processes[name].poll() is None, f"{name} ended: {words(name)}"
        answer = http_answer(f"http://127.0.0.1:{here.ports[name][1]}/ready")
        return answer is not None and answer[0] == 200

    for name in NAMES:
        until(lambda name=name: is_ready(name), deadline_s=READY_WITHIN_S, what=f"{name} is not ready")  # type: ignore[misc]
    for process in processes.values():
        process.send_signal(signal.SIGTERM)
    until(
        lambda: all(process.poll() is not None for process in processes.values()),
        deadline_s=EXIT_WITHIN_S,
        what="not all have ended",
    )
    assert {name: process.returncode for name, process in processes.items()} == dict.fromkeys(NAMES, 0)
