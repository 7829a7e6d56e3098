"""The prose check: what it finds, what it lets pass, and that the tree is clean."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tools import prose
from tools.__main__ import app

# Not spelled out here: nobody who searches the tree for them should find this file.
WHO_EVER, A_NEW, LIKE_WISE, _ = prose.RULED_OUT


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("name", "text", "finding"),
    [
        ("services/a.py", f'"""{WHO_EVER.title()} reads this."""\n', f'services/a.py:1: reword "{WHO_EVER.title()}"'),
        ("services/a.py", f'"""Text.\n\nRead {A_NEW}.\n"""\n', f'services/a.py:3: reword "{A_NEW}"'),
        ("services/a.py", f"x = 1  # {LIKE_WISE}\n", f'services/a.py:1: reword "{LIKE_WISE}"'),
        ("tests/a.py", 'raise ValueError("a port that is none")\n', 'tests/a.py:1: reword "is none"'),
        ("tests/a.py", 'y = 2\nraise ValueError(f"so many as {y}")\n', 'tests/a.py:2: reword "so many"'),
        ("bench/a.py", "LONGEST_ID = 1\n", "bench/a.py:1: rename LONGEST_ID: limits are called MAX_ or MIN_"),
        ("sandbox/a.py", "_MOST_ROWS = 1\n", "sandbox/a.py:1: rename _MOST_ROWS: limits are called MAX_ or MIN_"),
        ("tools/a.py", "class World:\n    pass\n", "tools/a.py:1: rename class World"),
        ("docs/adr/1.md", f"# One\n\nWritten {A_NEW}.\n", f'docs/adr/1.md:3: reword "{A_NEW}"'),
        ("Makefile", "a: ## so many\n", 'Makefile:1: reword "so many"'),
    ],
)
def test_a_habit_is_found_with_its_line(tmp_path: Path, name: str, text: str, finding: str) -> None:
    write(tmp_path, name, text)
    assert prose.check(tmp_path) == [finding]


@pytest.mark.parametrize(
    "text",
    [
        'x = None\nif x is None:\n    """It is None."""\n',
        "def test_whoever_comes() -> None:\n    pass\n",
        "MAX_ROWS = 1\nMOST = 2\nclass Worlds:\n    pass\n",
        "# Many words; a renewed effort.\n",
        '"""Return the row; None if there is none."""\n',
    ],
    ids=["None", "a test's name", "names", "parts of words", "there is none"],
)
def test_other_code_passes(tmp_path: Path, text: str) -> None:
    write(tmp_path, "services/a.py", text)
    assert prose.check(tmp_path) == []


def test_exception_names_are_silenced_at_most_twice(tmp_path: Path) -> None:
    for number in range(prose.MAX_SILENCED_ERROR_NAMES):
        write(
            tmp_path,
            f"services/a{number}.py",
            f"class Problem(Exception):  # noqa: {prose.ERROR_NAME_RULE} - RFC 9457\n    pass\n",
        )
    assert prose.check(tmp_path) == []
    write(tmp_path, "services/b.py", f"class Gone(Exception):  # noqa: {prose.ERROR_NAME_RULE}\n    pass\n")
    (finding,) = prose.check(tmp_path)
    assert "services/b.py:1" in finding


def test_the_command_fails_on_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    for findings, exit_code in (([], 0), (["a.md:1: reword it"], 1)):
        monkeypatch.setattr(prose, "check", lambda findings=findings: findings)
        result = CliRunner().invoke(app, ["check-prose"])
        assert (result.exit_code, result.output.splitlines()) == (exit_code, findings)


def test_the_tree_is_clean() -> None:
    assert prose.check() == []
