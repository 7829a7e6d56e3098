"""docs/reliability.md names a test for each fault; each of them exists, and each round is a fault of the campaign."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.faults.campaign.rounds import FAULTS

REPOSITORY = Path(__file__).parents[2]
ROWS = dict(
    re.findall(
        r"^\| (F\d+) [^|]*\| (.*) \|$", (REPOSITORY / "docs" / "reliability.md").read_text("utf-8"), re.MULTILINE
    )
)
MAX_FAULT = 30


@cache
def functions_of(path: str) -> set[str]:
    tree = ast.parse((REPOSITORY / path).read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_no_fault_is_missing() -> None:
    assert list(ROWS) == [f"F{number}" for number in range(1, MAX_FAULT + 1)]


@pytest.mark.parametrize("fault", ROWS)
def test_the_tests_of_a_fault_exist(fault: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", ROWS[fault])
    assert named or ROWS[fault].startswith("the same"), "no test is named"
    for path, function in named:
        assert (REPOSITORY / path).is_file(), path
        assert not function or function in functions_of(path), f"{path}::{function}"


def test_rounds_that_are_named_are_faults_of_the_campaign() -> None:
    known = {fault.name for fault in FAULTS}
    for fault, text in ROWS.items():
        for names in re.findall(r"rounds? ((?:`[a-z-]+`(?:, )?)+)", text):
            for name in re.findall(r"`([a-z-]+)`", names):
                assert name in known, f"{fault}: {name}"
                numbers = next(each.numbers for each in FAULTS if each.name == name)
                assert fault in numbers.split(), f"{name} is said to be {numbers}"
