"""Which Java is chosen, and which is too old."""

from pathlib import Path

import pytest

from sandbox.errors import MissingDependencyError
from sandbox.java import find_java


def create_java_home(home: Path, release: str) -> Path:
    """Create the files of a Java home that are read."""
    program = home / "bin" / "java"
    program.parent.mkdir()
    program.touch(mode=0o755)
    (home / "release").write_text(f'IMPLEMENTOR="somebody"\nJAVA_VERSION="{release}"\n')
    return program


@pytest.mark.parametrize(("release", "version"), [("17.0.1", 17), ("25", 25)])
def test_a_java_is_chosen_by_its_home_or_its_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str, version: int
) -> None:
    program = create_java_home(tmp_path, release)
    for named in (tmp_path, program):
        monkeypatch.setenv("SANDBOX_JAVA", str(named))
        assert (find_java().program, find_java().version) == (program, version)
        assert find_java().supports_aot_cache is (version == 25)


@pytest.mark.parametrize(("release", "version"), [("16.0.2", 16), ("1.8.0_402", 8)])
def test_one_that_is_too_old_for_kafka_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str, version: int
) -> None:
    monkeypatch.setenv("SANDBOX_JAVA", str(create_java_home(tmp_path, release)))
    with pytest.raises(MissingDependencyError, match=f"is Java {version}; Kafka needs 17 or later"):
        find_java()


def test_one_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_JAVA", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="is not a Java program"):
        find_java()
