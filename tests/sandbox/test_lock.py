"""What is downloaded is named with its sum, and never from where."""

import re
from pathlib import Path

import pytest
from jgo.env import LockedDependency

from sandbox import jars, places


def test_every_jar_has_a_sum_and_no_address() -> None:
    text = places.KAFKA_LOCK.read_text(encoding="utf-8")
    assert "://" not in text
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256 or "") for jar in jars.locked())
    assert len({jars.file_name(jar) for jar in jars.locked()}) == len(jars.locked()) > 40
    assert any(jar.artifactId == "kafka_2.13" and jar.version == jars.KAFKA_VERSION for jar in jars.locked())


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
    altered = tmp_path / "jars" / jars.file_name(jars.locked()[0])
    altered.unlink()
    altered.write_bytes(b"something else")
    jars.class_path()
    assert asked == [altered.name]
