"""Which Python `make` creates its environment with."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.chassis.runtime.settings import REPOSITORY

PROGRAM = REPOSITORY / "tools" / "find-python"
OPTIMISED, PLAIN, UNUSABLE = "echo optimised 3.11.2", "echo plain 3.11.7", "exit 1"


def find(*arguments: str, path: str) -> str:
    done = subprocess.run(
        ["/bin/bash", str(PROGRAM), *arguments], env={"PATH": path}, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("pythons", "found"),
    [
        ([("a/python3.11", PLAIN), ("b/python3.11", OPTIMISED)], "b/python3.11"),
        ([("a/python3.11", PLAIN), ("a/python3.12", OPTIMISED)], "a/python3.12"),
        ([("a/python3.11", PLAIN), ("a/python3.12", PLAIN)], "a/python3.11"),
        ([("a/python3.11", UNUSABLE), ("b/python3", PLAIN)], "b/python3"),
        ([("a/python3.11", UNUSABLE)], ""),
        ([], ""),
    ],
    ids=["same name", "another version", "none optimised", "first unusable", "all unusable", "none"],
)
def test_the_optimised_python_is_taken_where_there_is_one(
    tmp_path: Path, pythons: list[tuple[str, str]], found: str
) -> None:
    for name, answer in pythons:
        program = tmp_path / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{answer}\n", encoding="utf-8")
        program.chmod(0o755)
    path = os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b")])
    assert find(path=path) == (str(tmp_path / found) if found else "")


def test_make_says_which_it_takes_and_a_given_one_wins(tmp_path: Path) -> None:
    program = tmp_path / "mine"
    program.write_text("#!/bin/sh\necho plain 3.11.7\n", encoding="utf-8")
    program.chmod(0o755)
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", ".venv/created", f"PYTHON={program}"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{program} -m venv .venv" in done.stdout
    described = find("--describe", str(program), path=os.environ["PATH"])
    assert described == f"Python 3.11.7 ({program}, built without profile-guided optimisation)"


def a_python(program: Path, *, built_with: str | None, version: tuple[int, int] = (3, 11)) -> Path:
    """Create a Python that says of itself that it was built so."""
    lines = (
        f"#!{sys.executable}",
        "import sys, sysconfig",
        f"sysconfig.get_config_var = lambda _: {built_with!r}",
        f"sys.version_info = {version}",
        "exec(sys.argv[2])",
    )
    program.write_text("\n".join(lines), encoding="utf-8")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("built_with", "how"),
    [
        ("'--prefix=/opt' '--enable-optimizations' '--with-lto'", "with"),
        ("'--enable-shared' '--with-wheel-pkg-dir=/usr/share/python-wheels/' 'CC=x86_64-linux-gnu-gcc'", "with"),
        ("'--prefix=/opt/pyenv/versions/3.11.7' '--enable-shared'", "without"),
        ("", "without"),
        (None, "without"),
    ],
    ids=["optimised", "Debian", "pyenv", "nothing", "unknown"],
)
def test_how_a_python_was_built_is_read_from_its_configuration(
    tmp_path: Path, built_with: str | None, how: str
) -> None:
    described = find("--describe", str(a_python(tmp_path / "mine", built_with=built_with)), path=os.environ["PATH"])
    assert described.endswith(f"built {how} profile-guided optimisation)")


def test_a_given_python_that_is_too_old_is_refused(tmp_path: Path) -> None:
    """Breaks: `make` says "Python (mine, built without …)", and fails at the first library that does not install."""
    program = a_python(tmp_path / "mine", built_with="", version=(3, 10))
    done = subprocess.run(
        ["make", "--no-print-directory", "--always-make", ".venv/created", f"PYTHON={program}"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stdout == f"{program} is not Python 3.11 or newer with the modules venv and ensurepip\n"
