"""Kafka's jars: pinned in a lock file with SHA-256 sums, downloaded by jgo, verified before every use."""

import fcntl
import os
import ssl
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path

from jgo.env import LockedDependency, LockFile
from jgo.maven import MavenContext

from sandbox import paths
from sandbox.errors import MissingDependencyError

KAFKA_VERSION = "4.3.1"
ROOT_ARTIFACTS = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:1.7.36")
MAX_PARALLEL_DOWNLOADS = 8
MAX_ATTEMPTS = 3
TIMEOUT_S = 60

Progress = Callable[[int, int], None]


def class_path(progress: Progress | None = None) -> list[Path]:
    """Return all jars of the lock file, verified; download those that are missing or altered.

    `progress` is called with (done, total) during the download.
    """
    jars = locked_jars()
    directory = paths.cache() / "jars"
    directory.mkdir(parents=True, exist_ok=True)
    with file_lock(directory / ".lock"):
        missing = [jar for jar in jars if not _is_intact(directory / file_name(jar), jar)]
        if missing:
            _fetch(missing, directory, progress or (lambda _done, _total: None))
    return [directory / file_name(jar) for jar in jars]


def locked_jars() -> list[LockedDependency]:
    """Return the jars of the lock file."""
    return list(LockFile.load(paths.KAFKA_LOCK).dependencies)


def write_lock() -> int:
    """Resolve Kafka's dependencies and write the lock file; return the number of jars."""
    with tempfile.TemporaryDirectory() as scratch:
        context = _context(Path(scratch))
        roots, others = context.resolver.resolve([context.create_dependency(artifact) for artifact in ROOT_ARTIFACTS])
        needed = [*roots, *(each for each in others if each.scope in {"compile", "runtime"})]
        LockFile.from_resolved_dependencies(needed, environment_name="kafka").save(paths.KAFKA_LOCK)
    return len(needed)


def file_name(jar: LockedDependency) -> str:
    """Return its file name in the cache; Kafka's jars of different groups have different names."""
    return f"{jar.artifactId}-{jar.version}.{jar.packaging}"


@contextmanager
def file_lock(lock: Path) -> Iterator[None]:
    """Hold a lock between processes: several test runs may share the cache."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch(jars: list[LockedDependency], directory: Path, progress: Progress) -> None:
    with tempfile.TemporaryDirectory(dir=directory) as scratch, ThreadPoolExecutor(MAX_PARALLEL_DOWNLOADS) as pool:
        context = _context(Path(scratch))
        progress(0, len(jars))
        downloads = [pool.submit(_fetch_one, context, jar, directory / file_name(jar)) for jar in jars]
        for done, download in enumerate(as_completed(downloads), start=1):
            try:
                download.result()
            except (OSError, RuntimeError) as error:
                pool.shutdown(cancel_futures=True)
                raise MissingDependencyError(
                    f"Kafka's jars could not be downloaded ({type(error).__name__})"
                ) from error
            progress(done, len(jars))


def _fetch_one(context: MavenContext, jar: LockedDependency, destination: Path) -> None:
    for attempt in range(1, MAX_ATTEMPTS + 1):
        try:
            fetched = _download(context, jar)
            break
        except (OSError, RuntimeError):  # errors of the HTTP client, and jgo's when a repository lacks the jar
            if attempt == MAX_ATTEMPTS:
                raise
    if not _is_intact(fetched, jar):
        raise MissingDependencyError(f"{file_name(jar)} does not have the SHA-256 sum of {paths.KAFKA_LOCK.name}")
    fetched.replace(destination)


def _download(context: MavenContext, jar: LockedDependency) -> Path:
    artifact = (
        context.project(jar.groupId, jar.artifactId)
        .at_version(jar.version)
        .artifact(classifier=jar.classifier or "", packaging=jar.packaging)
    )
    if artifact.cached_path is not None:
        artifact.cached_path.unlink(missing_ok=True)  # a failed attempt leaves a partial file
    return artifact.resolve()


def _is_intact(path: Path, jar: LockedDependency) -> bool:
    if jar.sha256 is None or not path.is_file():
        return False
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest() == jar.sha256


def _context(directory: Path) -> MavenContext:
    _use_system_ca_bundle()
    return MavenContext(repo_cache=directory, timeout=TIMEOUT_S)


def _use_system_ca_bundle() -> None:
    """Point jgo's HTTP client, which reads REQUESTS_CA_BUNDLE only, to the certificates that OpenSSL and pip use."""
    if "REQUESTS_CA_BUNDLE" in os.environ or "CURL_CA_BUNDLE" in os.environ:
        return
    bundle = os.environ.get(ssl.get_default_verify_paths().openssl_cafile_env) or os.environ.get("PIP_CERT")
    if bundle:
        os.environ["REQUESTS_CA_BUNDLE"] = bundle
