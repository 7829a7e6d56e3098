"""The production rules with shorter times, so that alerts fire within seconds in tests.

Every window is divided by 30, and alerts fire without a `for` duration. The conditions are unchanged, except the age at
which signing keys are stale, which is divided by 30, too.
"""

import re
from pathlib import Path

from tests.observe.rules import FILES

SPEED_UP = 30
_MILLISECONDS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PATIENCE = re.compile(r"\bfor: \S+")
_AGE = re.compile(r"(?<=time\(\) - \(jwks_fetched_timestamp_seconds > 0\)\) > )\d+")
_WINDOW = re.compile(r"(?<![\w.])(\d+)([smhd])\b")


def write_fast_rules(directory: Path) -> Path:
    """Write the fast rules to a directory and return it."""
    for path in FILES:
        (directory / path.name).write_text(speed_up(path.read_text(encoding="utf-8")), encoding="utf-8")
    return directory


def speed_up(rules: str) -> str:
    """Return the text of a rules file with shorter times."""
    younger = _AGE.sub(lambda age: str(int(age[0]) // SPEED_UP), rules)
    return _WINDOW.sub(_shorten, _PATIENCE.sub("for: 0s", younger))


def _shorten(window: re.Match[str]) -> str:
    return f"{int(window[1]) * _MILLISECONDS[window[2]] // SPEED_UP}ms"
