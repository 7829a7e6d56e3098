"""Kafka's jars: named in a lock file with their SHA-256 sums, fetched by jgo, checked before every use."""

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
from sandbox.missing import Missing

KAFKA_VERSION = "4.3.1"
WANTED = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:1.7.36")
DOWNLOADS_AT_ONCE = 8
ATTEMPTS = 3
TIMEOUT_S = 60

Progress = Callable[[int, int], None]


def class_path(progress: Progress | None = None) -> list[Path]:
    """Every jar of the lock file, present and unaltered; what is missing is fetched.

    `progress` hears (done, total) while jars are fetched.
    """
    wanted = locked()
    directory = paths.cache() / "jars"
    directory.mkdir(parents=True, exist_ok=True)
    with exclusively(directory / ".lock"):
        missing = [jar for jar in wanted if not _is_intact(directory / file_name(jar), jar)]
        if missing:
            _fetch(missing, directory, progress or (lambda _done, _total: None))
    return [directory / file_name(jar) for jar in wanted]


def locked() -> list[LockedDependency]:
    """The jars that the lock file names."""
    return list(LockFile.load(paths.KAFKA_LOCK).dependencies)


def write_lock() -> int:
    """Resolve Kafka's dependencies anew and write the lock file; the number of jars."""
    with tempfile.TemporaryDirectory() as scratch:
        context = _context(Path(scratch))
        inputs, others = context.resolver.resolve([context.create_dependency(one) for one in WANTED])
        needed = [*inputs, *(one for one in others if one.scope in {"compile", "runtime"})]
        LockFile.from_resolved_dependencies(needed, environment_name="kafka").save(paths.KAFKA_LOCK)
    return len(needed)


def file_name(jar: LockedDependency) -> str:
    """Its name in the cache; names of different groups do not collide in Kafka's set."""
    return f"{jar.artifactId}-{jar.version}.{jar.packaging}"


@contextmanager
def exclusively(lock: Path) -> Iterator[None]:
    """Only one process at a time is inside: several test runs may share the cache."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch(jars: list[LockedDependency], directory: Path, progress: Progress) -> None:
    with tempfile.TemporaryDirectory(dir=directory) as scratch, ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
        context = _context(Path(scratch))
        progress(0, len(jars))
        fetching = [pool.submit(_fetch_one, context, jar, directory / file_name(jar)) for jar in jars]
        for done, one in enumerate(as_completed(fetching), start=1):
            try:
                one.result()
            except (OSError, RuntimeError) as error:
                pool.shutdown(cancel_futures=True)
                raise Missing(f"Kafka's jars could not be fetched ({type(error).__name__})") from error
            progress(done, len(jars))


def _fetch_one(context: MavenContext, jar: LockedDependency, destination: Path) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            fetched = _download(context, jar)
            break
        except (OSError, RuntimeError):  # the HTTP client's errors, and jgo's when a repository has not got it
            if attempt == ATTEMPTS:
                raise
    if not _is_intact(fetched, jar):
        raise Missing(f"{file_name(jar)} does not have the SHA-256 sum of {paths.KAFKA_LOCK.name}")
    fetched.replace(destination)


def _download(context: MavenContext, jar: LockedDependency) -> Path:
    artifact = (
        context.project(jar.groupId, jar.artifactId)
        .at_version(jar.version)
        .artifact(classifier=jar.classifier or "", packaging=jar.packaging)
    )
    if artifact.cached_path is not None:
        artifact.cached_path.unlink(missing_ok=True)  # a broken attempt leaves a part behind
    return artifact.resolve()


def _is_intact(path: Path, jar: LockedDependency) -> bool:
    if jar.sha256 is None or not path.is_file():
        return False
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest() == jar.sha256


def _context(directory: Path) -> MavenContext:
    _trust_what_the_machine_trusts()
    return MavenContext(repo_cache=directory, timeout=TIMEOUT_S)


def _trust_what_the_machine_trusts() -> None:
    """The HTTP client of jgo knows its own variable for certificates only, not the one that OpenSSL and pip honour."""
    if "REQUESTS_CA_BUNDLE" in os.environ or "CURL_CA_BUNDLE" in os.environ:
        return
    named = os.environ.get(ssl.get_default_verify_paths().openssl_cafile_env) or os.environ.get("PIP_CERT")
    if named:
        os.environ["REQUESTS_CA_BUNDLE"] = named
