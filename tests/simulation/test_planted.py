"""A violation in a tree with a planted bug: found, told again from its seed, and shrunk."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.plants.__main__ import PLANTS, copy_tree
from tests.faults.plants.plant import Simulation

MAX_STEPS = 12
# A transaction is written, the other process reads it and announces it, and no majority ever has it.
PLANT = "outbox read at local read concern"


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_planted_bug_is_found_told_again_and_shrunk(tmp_path: Path) -> None:
    """Breaks: the outbox is read where it may be rolled back. I2 is violated, each time in the same way.

    What is left of the story has at most twelve steps, and prints the same digest whenever it is played.
    """
    plant = next(plant for plant in PLANTS if plant.name == PLANT)
    assert isinstance(plant.suite, Simulation)
    copy_tree(tmp_path)
    for edit in plant.edits:
        edit.apply(tmp_path)
    printed = play(tmp_path, *plant.suite.arguments[2:], "--max-failures", "5", "--shrink")
    _, _, shrunk = printed.partition("shrunk:\n")
    steps = re.findall(r"^ *\d+ at .*$", shrunk, re.MULTILINE)
    assert 0 < len(steps) <= MAX_STEPS, printed
    again = re.search(r"^again: python -m tests\.simulation (.*)$", shrunk, re.MULTILINE)
    assert again is not None
    replayed = [play(tmp_path, *again[1].split()) for _ in range(2)]
    stories = {re.sub(r", [\d.]+ s$", "", text, flags=re.MULTILINE) for text in [shrunk, *replayed]}
    assert len(stories) == 1, stories
    assert "I2: " in shrunk


def play(tree: Path, *arguments: str) -> str:
    """Run the simulation of the tree and return what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout
