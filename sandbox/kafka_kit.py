"""What is needed to run a Kafka broker, made once and kept in the cache: jars, a formatted log, preloaded classes."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox import jars, paths
from sandbox.java import Java, find_java
from sandbox.missing import Missing

CLUSTER_ID = "VGlsbHN0cmVhbVNhbmRib"
FAST_START = ("-Xms128m", "-Xss512k", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
QUIET_PRELOADING = "-Xlog:aot*=off"


@dataclass(frozen=True, slots=True)
class KafkaKit:
    """Everything a broker is started from."""

    java: Java
    class_path: Sequence[Path]
    directory: Path

    @property
    def checkpoint(self) -> Path:
        """What `kafka-storage format` writes for a new cluster; the same for every cluster of this version."""
        return self.directory / "bootstrap.checkpoint"

    @property
    def preloaded(self) -> Path:
        """Kafka's classes, loaded and linked ahead of time for this Java and these jars. Need not be there."""
        jar_names = "\n".join(str(jar) for jar in self.class_path)
        of = f"{self.java.program.resolve()}\n{self.java.version}\n{jar_names}"
        return self.directory / f"classes-{hashlib.sha256(of.encode()).hexdigest()[:16]}.aot"

    def command(self, main: str, *arguments: str, options: Sequence[str] = ()) -> list[str]:
        """A command line that runs one of Kafka's programs."""
        path = os.pathsep.join(str(jar) for jar in self.class_path)
        return [str(self.java.program), *FAST_START, *options, "-cp", path, main, *arguments]

    def preloading(self) -> tuple[str, ...]:
        """Options that use the preloaded classes, if they are there."""
        if not (self.java.can_load_ahead_of_time and self.preloaded.is_file()):
            return ()
        return (f"-XX:AOTCache={self.preloaded}", QUIET_PRELOADING)


def kafka_kit(progress: jars.Progress | None = None) -> KafkaKit:
    """The kit, made if it is not there yet."""
    kit = KafkaKit(
        java=find_java(),
        class_path=jars.class_path(progress),
        directory=paths.cache() / f"kafka-{jars.KAFKA_VERSION}",
    )
    kit.directory.mkdir(parents=True, exist_ok=True)
    if not kit.checkpoint.is_file():
        with jars.exclusively(kit.directory / ".lock"):
            _format_once(kit)
    return kit


def _format_once(kit: KafkaKit) -> None:
    """A JVM takes a second to format an empty log, and for a new cluster it always writes the same file."""
    with tempfile.TemporaryDirectory(dir=kit.directory) as scratch:
        settings = Path(scratch) / "server.properties"
        log = Path(scratch) / "log"
        settings.write_text(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:1\n"
            "listeners=PLAINTEXT://127.0.0.1:2,CONTROLLER://127.0.0.1:1\ncontroller.listener.names=CONTROLLER\n"
            f"log.dirs={log}\n",
            encoding="utf-8",
        )
        command = kit.command("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(settings))
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        written = log / "bootstrap.checkpoint"
        if done.returncode != 0 or not written.is_file():
            raise Missing(f"Kafka's log could not be formatted:\n{done.stdout}{done.stderr}")
        with contextlib.suppress(FileExistsError):
            shutil.move(written, kit.checkpoint)
