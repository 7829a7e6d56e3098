"""`python -m tests.faults.plants`: plant one bug after the other in a copy, and see whether its suite notices."""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from tests.faults.plants import access_bugs, kafka_bugs, store_bugs
from tests.faults.plants.plant import REPOSITORY, Plant, Simulation

PLANTS = (*kafka_bugs.PLANTS, *store_bugs.PLANTS, *access_bugs.PLANTS)
TIMEOUT_S = 900


def main() -> int:
    """Print a line for each plant; return 1 if one survived."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.plants", description=__doc__)
    parser.add_argument("only", nargs="*", help="plants whose name has one of these words")
    options = parser.parse_args()
    chosen = [plant for plant in PLANTS if not options.only or any(word in plant.name for word in options.only)]
    survivors = 0
    with TemporaryDirectory() as directory:
        copy = copy_tree(Path(directory))
        for plant in chosen:
            started = monotonic()
            seen = try_plant(plant, copy)
            survivors += seen is None
            word = f"caught   {seen}" if seen else "SURVIVED"
            print(f"{word:<16} {plant.invariant:<4} {monotonic() - started:6.1f} s  {plant.name}", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} caught")
    return bool(survivors)


def copy_tree(directory: Path) -> Path:
    """Copy the tracked files, changed ones as they are now."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        source, target = REPOSITORY / name, directory / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    return directory


def try_plant(plant: Plant, copy: Path) -> str | None:
    """Return what saw the bug: the name of an invariant, or "a test"; None if nothing did."""
    before: dict[Path, str] = {}
    try:
        for edit in plant.edits:
            before.setdefault(copy / edit.path, edit.apply(copy))
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(copy)}
        command = [sys.executable, *plant.suite.arguments]
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    finally:
        for file, text in before.items():
            file.write_text(text, encoding="utf-8")
    printed = done.stdout + done.stderr
    if isinstance(plant.suite, Simulation):
        found = re.findall(r"^seed \d+: (\w+): ", printed, re.MULTILINE)
        return next((name for name in found if name in plant.suite.invariants), None)
    return "a test" if done.returncode == 1 and re.search(r"\d+ failed", printed) else None


if __name__ == "__main__":
    sys.exit(main())
