"""The rule files."""

from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
DIRECTORY = REPOSITORY / "deploy" / "prometheus"
FILES = sorted((DIRECTORY / "rules").glob("*.yml"))
TESTS = sorted((DIRECTORY / "tests").glob("*.yml"))


def rules() -> list[dict[str, Any]]:
    """Return every rule of every file."""
    read = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in FILES]
    return [rule for file in read for group in file["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDED = {rule["record"]: rule for rule in rules() if "record" in rule}
