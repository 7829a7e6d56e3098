"""Which Java is taken, and which is too old."""

from pathlib import Path

import pytest

from sandbox.java import find_java
from sandbox.missing import Missing


def a_java(home: Path, release: str) -> Path:
    """A Java home, as far as one looks at it."""
    program = home / "bin" / "java"
    program.parent.mkdir()
    program.touch(mode=0o755)
    (home / "release").write_text(f'IMPLEMENTOR="somebody"\nJAVA_VERSION="{release}"\n')
    return program


@pytest.mark.parametrize(("release", "version"), [("17.0.1", 17), ("25", 25)])
def test_a_java_is_chosen_by_its_home_or_its_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str, version: int
) -> None:
    program = a_java(tmp_path, release)
    for named in (tmp_path, program):
        monkeypatch.setenv("SANDBOX_JAVA", str(named))
        assert (find_java().program, find_java().version) == (program, version)
        assert find_java().can_load_ahead_of_time is (version == 25)


@pytest.mark.parametrize(("release", "version"), [("16.0.2", 16), ("1.8.0_402", 8)])
def test_one_that_is_too_old_for_kafka_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str, version: int
) -> None:
    monkeypatch.setenv("SANDBOX_JAVA", str(a_java(tmp_path, release)))
    with pytest.raises(Missing, match=f"is Java {version}; Kafka needs 17 or later"):
        find_java()


def test_one_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_JAVA", str(tmp_path))
    with pytest.raises(Missing, match="is not a Java program"):
        find_java()
