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

from tests.faults.plants import access_bugs, feed_bugs, kafka_bugs, ledger_bugs, store_bugs
from tests.faults.plants.plant import REPOSITORY, Plant, Simulation

PLANTS = (*kafka_bugs.PLANTS, *store_bugs.PLANTS, *ledger_bugs.PLANTS, *feed_bugs.PLANTS, *access_bugs.PLANTS)
TIMEOUT_S = 600


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
            word = "caught" if seen else "SURVIVED"
            line = f"{word:<8} {plant.invariant:<4} {monotonic() - started:6.1f} s  {plant.name}"
            print(line + (f": {seen}" if seen else ""), flush=True)
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
    """Return what saw the bug: an invariant and its seed, or a test; None if nothing did, or not in time."""
    before: dict[Path, str] = {}
    try:
        for edit in plant.edits:
            before.setdefault(copy / edit.path, edit.apply(copy))
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(copy)}
        command = [sys.executable, *plant.suite.arguments]
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return None
    finally:
        for file, text in before.items():
            file.write_text(text, encoding="utf-8")
    return _seen(plant, done.returncode, done.stdout + done.stderr)


def _seen(plant: Plant, status: int, printed: str) -> str | None:
    if isinstance(plant.suite, Simulation):
        found = re.findall(r"^seed (\d+): (\w+): ", printed, re.MULTILINE)
        return next((f"{name} in seed {seed}" for seed, name in found if name in plant.suite.invariants), None)
    failed = re.search(r"^FAILED (\S+)", printed, re.MULTILINE)
    return failed[1] if status == 1 and failed else None


if __name__ == "__main__":
    sys.exit(main())
