"""Planted bugs still fit the product; `make plants` plants them."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.plants.__main__ import PLANTS
from tests.faults.plants.plant import REPOSITORY, Plant, Pytest


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_plant_fits_its_files(plant: Plant, tmp_path: Path) -> None:
    """The text that a plant replaces is there once, what comes out is Python, and its tests exist."""
    for edit in plant.edits:
        (tmp_path / edit.path).parent.mkdir(parents=True, exist_ok=True)
        if not (tmp_path / edit.path).exists():
            shutil.copy(REPOSITORY / edit.path, tmp_path / edit.path)
        edit.apply(tmp_path)
        compile((tmp_path / edit.path).read_text(encoding="utf-8"), edit.path, "exec")
    if isinstance(plant.suite, Pytest):
        assert all((REPOSITORY / target).exists() for target in plant.suite.targets)


def test_plants_have_names_of_their_own() -> None:
    """At least forty, and no two under one name."""
    names = Counter(plant.name for plant in PLANTS)
    assert len(names) >= 40
    assert max(names.values()) == 1
