"""Compiles the modules of the hot path to machine code, where they are: `python -m tools.native`.

Needs mypy and a C compiler. The sources stay as they are, and serve without being compiled as well (ADR 18). Python
takes a compiled module before its source: compile again, or remove what was compiled, after each edit. This module
imports nothing of the project, so that an image can be built with mypy alone.
"""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
# Pure functions that take microseconds of each record.
MODULES = (
    "services/chassis/kafka/partitioner.py",
    "services/chassis/kafka/record_format.py",
    "services/sales/fast_avro_check.py",
    "services/sales/outcome_runs.py",
)
# Only these modules are checked for types here; `make types` checks all.
_OPTIONS = ["--strict", "--follow-imports=silent", "--ignore-missing-imports", "--explicit-package-bases"]


def compile_modules(root: Path, *, python: str = sys.executable) -> None:
    """Compile the modules of a copy of the project, which must be the working directory.

    `python` is the interpreter that has the libraries which they import.
    """
    # Here, because nothing else needs them.
    from mypyc.build import mypycify  # noqa: PLC0415
    from setuptools import Distribution  # type: ignore[import-untyped]  # noqa: PLC0415

    options = [*_OPTIONS, f"--python-executable={python}"]
    # Each on its own: together they would share one more library, beside the packages.
    extensions = [each for module in MODULES for each in mypycify([*options, module], opt_level="3", debug_level="0")]
    command = Distribution({"name": "native", "ext_modules": extensions}).get_command_obj("build_ext")
    command.inplace = True
    command.build_temp = str(root / "build" / "native")
    command.ensure_finalized()
    command.run()


def compiled_files(root: Path) -> list[Path]:
    """Return what was compiled in a copy of the project."""
    return [path for module in MODULES for path in (root / module).parent.glob(f"{Path(module).stem}[._]*.so")]


def main() -> None:
    """Compile, or with `remove` remove what was compiled; with `python PATH` for the libraries of that interpreter."""
    match sys.argv[1:]:
        case ["remove"]:
            for path in compiled_files(REPOSITORY):
                path.unlink()
        case ["python", python]:
            compile_modules(REPOSITORY, python=python)
        case _:
            compile_modules(REPOSITORY)


if __name__ == "__main__":
    main()
