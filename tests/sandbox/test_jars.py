"""The lock file of the jars: a checksum for each, and no download address."""

import re
from pathlib import Path

import pytest
from jgo.env import LockedDependency

from sandbox import jars, paths
from sandbox.errors import MissingDependencyError


def test_every_jar_has_a_sum_and_no_address() -> None:
    text = paths.KAFKA_LOCK.read_text(encoding="utf-8")
    assert "://" not in text
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256 or "") for jar in jars.locked_jars())
    assert len({jars.file_name(jar) for jar in jars.locked_jars()}) == len(jars.locked_jars()) > 40
    assert any(jar.artifactId == "kafka_2.13" and jar.version == jars.KAFKA_VERSION for jar in jars.locked_jars())


def test_an_altered_jar_is_noticed_and_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for original in jars.class_path():
        (tmp_path / "jars").mkdir(exist_ok=True)
        (tmp_path / "jars" / original.name).symlink_to(original)
    monkeypatch.setenv("SANDBOX_CACHE", str(tmp_path))
    asked: list[str] = []

    def fetch(missing: list[LockedDependency], _directory: Path, _progress: jars.Progress) -> None:
        asked.extend(jars.file_name(jar) for jar in missing)

    monkeypatch.setattr(jars, "_fetch", fetch)
    jars.class_path()
    assert asked == []
    altered = tmp_path / "jars" / jars.file_name(jars.locked_jars()[0])
    altered.unlink()
    altered.write_bytes(b"something else")
    jars.class_path()
    assert asked == [altered.name]


def test_a_jar_that_is_fetched_and_is_not_the_one_that_is_named_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(*_: object) -> Path:
        fetched = tmp_path / "fetched"
        fetched.write_bytes(b"something else")
        return fetched

    monkeypatch.setenv("SANDBOX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(jars, "_download", download)
    with pytest.raises(MissingDependencyError, match="does not have the SHA-256 sum"):
        jars.class_path()
    assert not list((tmp_path / "cache" / "jars").glob("*.jar"))
