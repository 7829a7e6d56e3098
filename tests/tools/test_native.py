"""Compiled modules: they pass the tests of their sources, and none is older than its source."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.native import MODULES, REPOSITORY, compiled_files

SUITES = (
    "tests/chassis/kafka/test_partitioner.py",
    "tests/chassis/kafka/test_record_format.py",
    "tests/sales/test_fast_avro_check.py",
    "tests/sales/test_outcome_runs.py",
    "tests/validator/test_record_reader.py",
    "tests/validator/test_worker.py",
)
# What the suites need of the project.
COPIED = ("services", "schemas", "tests", "tools", "sandbox", "bench", "clients")


def test_modules_that_are_compiled_exist_once() -> None:
    assert len(set(MODULES)) == len(MODULES)
    assert all((REPOSITORY / module).is_file() for module in MODULES)


def test_what_was_compiled_is_not_older_than_its_source() -> None:
    """Python takes the compiled module: tests would say nothing about the source. `make native` compiles again."""
    stale = [
        path
        for path in compiled_files(REPOSITORY)
        for source in path.parent.glob(f"{path.name.split('.')[0].removesuffix('__mypyc')}.py")
        if path.stat().st_mtime < source.stat().st_mtime
    ]
    assert stale == []


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project whose modules are compiled."""
    if shutil.which(os.environ.get("CC", "cc")) is None:
        pytest.skip("there is no C compiler")
    pytest.importorskip("setuptools", reason="newer Pythons come without it")
    root = tmp_path_factory.mktemp("compiled")
    for name in COPIED:
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    shutil.copy(REPOSITORY / "pyproject.toml", root)
    run(root, "-m", "tools.native")
    return root


def run(root: Path, *arguments: str) -> None:
    done = subprocess.run([sys.executable, *arguments], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-5_000:]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_compiled_modules_pass_the_tests_of_their_sources(compiled: Path) -> None:
    names = [module.removesuffix(".py").replace("/", ".") for module in MODULES]
    checks = [f"import {name}; assert {name}.__file__.endswith('.so')" for name in names]
    run(compiled, "-c", "; ".join(checks))
    run(compiled, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SUITES)
