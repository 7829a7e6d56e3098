"""What a Kafka broker is started from, built once and cached: Java, jars, a formatted log, an AOT class cache."""

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
from sandbox.errors import MissingDependencyError
from sandbox.java import Java, find_java

CLUSTER_ID = "VGlsbHN0cmVhbVNhbmRib"
FAST_START = ("-Xms128m", "-Xss512k", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
SILENCE_AOT_LOG = "-Xlog:aot*=off"


@dataclass(frozen=True, slots=True)
class KafkaDistribution:
    """Everything that a broker is started from."""

    java: Java
    class_path: Sequence[Path]
    directory: Path

    @property
    def bootstrap_checkpoint(self) -> Path:
        """The file that `kafka-storage format` writes for a new cluster; identical for all clusters of this version."""
        return self.directory / "bootstrap.checkpoint"

    @property
    def aot_cache(self) -> Path:
        """Kafka's classes, loaded and linked ahead of time for this Java and these jars. The file is optional."""
        jar_names = "\n".join(str(jar) for jar in self.class_path)
        key = f"{self.java.program.resolve()}\n{self.java.version}\n{jar_names}"
        return self.directory / f"classes-{hashlib.sha256(key.encode()).hexdigest()[:16]}.aot"

    def command(self, main: str, *arguments: str, options: Sequence[str] = ()) -> list[str]:
        """Return the command line of one of Kafka's programs."""
        path = os.pathsep.join(str(jar) for jar in self.class_path)
        return [str(self.java.program), *FAST_START, *options, "-cp", path, main, *arguments]

    def aot_options(self) -> tuple[str, ...]:
        """Java options that use the AOT cache, if it exists."""
        if not (self.java.supports_aot_cache and self.aot_cache.is_file()):
            return ()
        return (f"-XX:AOTCache={self.aot_cache}", SILENCE_AOT_LOG)


def kafka_distribution(progress: jars.Progress | None = None) -> KafkaDistribution:
    """Return the distribution; the first call downloads and prepares it."""
    distribution = KafkaDistribution(
        java=find_java(),
        class_path=jars.class_path(progress),
        directory=paths.cache() / f"kafka-{jars.KAFKA_VERSION}",
    )
    distribution.directory.mkdir(parents=True, exist_ok=True)
    if not distribution.bootstrap_checkpoint.is_file():
        with jars.file_lock(distribution.directory / ".lock"):
            _write_bootstrap_checkpoint(distribution)
    return distribution


def _write_bootstrap_checkpoint(distribution: KafkaDistribution) -> None:
    """Run `kafka-storage format` once: a JVM needs a second for it, and the resulting file never differs."""
    with tempfile.TemporaryDirectory(dir=distribution.directory) as scratch:
        settings = Path(scratch) / "server.properties"
        log = Path(scratch) / "log"
        settings.write_text(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:1\n"
            "listeners=PLAINTEXT://127.0.0.1:2,CONTROLLER://127.0.0.1:1\ncontroller.listener.names=CONTROLLER\n"
            f"log.dirs={log}\n",
            encoding="utf-8",
        )
        command = distribution.command("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(settings))
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        written = log / "bootstrap.checkpoint"
        if done.returncode != 0 or not written.is_file():
            raise MissingDependencyError(f"Kafka's log could not be formatted:\n{done.stdout}{done.stderr}")
        with contextlib.suppress(FileExistsError):
            shutil.move(written, distribution.bootstrap_checkpoint)
