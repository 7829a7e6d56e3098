"""Documents name files, functions and headings that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import typer.main

from sandbox.__main__ import application as sandbox_app
from services.__main__ import app as services_app
from services.chassis.runtime.settings import REPOSITORY
from tools.__main__ import app as tools_app

PAGES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "deploy/**/*.md", "tests/**/*.md")
    for path in REPOSITORY.glob(pattern)
)
ARCHITECTURE = (REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")
FUNCTIONS = sorted(set(re.findall(r"`([\w/]+\.py):([\w.]+)`", ARCHITECTURE)))
TREE = re.findall(r"^(  )?([\w/.]+)  +\S", ARCHITECTURE.partition("```\n")[2].partition("```")[0], re.MULTILINE)
APPS = {"services": services_app, "sandbox": sandbox_app, "tools": tools_app}
TOP_LEVEL = ("bench", "deploy", "docs", "sandbox", "schemas", "services", "tests", "tools")


@cache
def definitions(path: Path) -> frozenset[str]:
    """The functions, classes and methods of a module."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            members = (each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
            found |= {f"{node.name}.{each.name}" for each in members}
    return frozenset(found)


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("path", "name"), FUNCTIONS)
def test_a_step_of_the_architecture_names_a_function_that_exists(path: str, name: str) -> None:
    assert name in definitions(REPOSITORY / "services" / path)


def test_every_use_case_has_numbered_steps_with_functions() -> None:
    flows = ARCHITECTURE.partition("## The use cases")[2].split("\n### ")[1:]
    assert len(flows) >= 10
    for flow in flows:
        title, _, steps = flow.partition("\n")
        assert re.findall(r"^(\d+)\. ", steps, re.MULTILINE), title
        assert re.search(r"`[\w/]+\.py:[\w.]+`", steps), title


@pytest.mark.parametrize(("indent", "name"), TREE)
def test_the_tree_of_the_architecture_exists(indent: str, name: str) -> None:
    assert (REPOSITORY / ("services" if indent else "") / name).exists()


def test_the_tree_of_the_architecture_has_every_package() -> None:
    packages = {path.parent.name for path in (REPOSITORY / "services").glob("*/__init__.py")}
    assert packages <= {name.strip("/") for _, name in TREE}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page: str) -> None:
    path = REPOSITORY / page
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), target
        if anchor and linked.suffix == ".md":
            assert anchor in anchors(linked), target


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_exist(page: str) -> None:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    for name in re.findall(rf"`((?:{'|'.join(TOP_LEVEL)})/[\w./-]+\.\w+)`", text):
        assert (REPOSITORY / name).is_file(), name


def test_the_index_lists_every_decision_with_its_title() -> None:
    directory = REPOSITORY / "docs" / "adr"
    rows = []
    for path in sorted(directory.glob("0*.md")):
        number, _, title = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ").partition(". ")
        rows.append(f"| [{number}]({path.name}) | {title} |")
    listed = (directory / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in listed if line.startswith("| [")] == rows


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_a_page_names_exist(page: str) -> None:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    for program, line in re.findall(r"python -m (services|sandbox|tools) ([^`\n\")]+)", text):
        command: object = typer.main.get_command(APPS[program])
        for word in line.split():
            commands = getattr(command, "commands", None)
            if not commands:
                break
            assert word in commands, f"python -m {program} {line}"
            command = commands[word]
