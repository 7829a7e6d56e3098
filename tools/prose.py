"""Checks names, comments, docstrings, messages and documents for words that the style guide rules out."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from services.chassis.runtime.settings import REPOSITORY

CODE = ("services", "sandbox", "tools", "tests", "bench", "clients")
PAGES = (
    "*.md",
    "docs/**/*.md",
    "deploy/**/*.md",
    "tests/**/*.md",
    "Makefile",
    "deploy/**/*.y*ml",
    "schemas/**/*.yaml",
    "docker-compose.yml",
)
# The rules below quote what they rule out.
EXEMPT = frozenset({"tools/prose.py", "tests/tools/test_prose.py"})
MAX_SILENCED_ERROR_NAMES = 2

# "There is none" is fine, "a port that is none" is not.
RULED_OUT = ("whoever", "anew", "likewise", "so many")
WORDS = re.compile(rf"\b(?:(?i:{'|'.join(RULED_OUT)})|(?<!here )is none)\b")
SUPERLATIVE = re.compile(r"_?(?:MOST|LONGEST|LARGEST|SHORTEST|LEAST)_[A-Z0-9_]+")
VAGUE_CLASSES = frozenset({"World", "Away"})
# Ruff's rule that exceptions end in Error.
ERROR_NAME_RULE = "N818"
SILENCED_ERROR_NAME = re.compile(rf"noqa:.*\b{ERROR_NAME_RULE}\b")


def check(root: Path = REPOSITORY) -> list[str]:
    """Return one line per finding: file, line number and reason."""
    findings: list[str] = []
    silenced: list[str] = []
    for path in _paths(root):
        name, text = path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")
        lines = _check_code(text) if path.suffix == ".py" else _check_page(text)
        findings += [f"{name}:{number}: {reason}" for number, reason in lines]
        if path.suffix == ".py":
            numbered = enumerate(text.splitlines(), start=1)
            silenced += [f"{name}:{number}" for number, line in numbered if SILENCED_ERROR_NAME.search(line)]
    if len(silenced) > MAX_SILENCED_ERROR_NAMES:
        places = ", ".join(silenced)
        findings.append(
            f"at most {MAX_SILENCED_ERROR_NAMES} exceptions may not end in Error ({ERROR_NAME_RULE} silenced): {places}"
        )
    return findings


def _paths(root: Path) -> Iterator[Path]:
    for directory in CODE:
        yield from (path for path in sorted((root / directory).rglob("*.py")) if not _is_exempt(path, root))
    for pattern in PAGES:
        yield from (path for path in sorted(root.glob(pattern)) if not _is_exempt(path, root))


def _is_exempt(path: Path, root: Path) -> bool:
    return path.relative_to(root).as_posix() in EXEMPT


def _check_page(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        yield from ((number, f'reword "{match[0]}"') for match in WORDS.finditer(line))


def _check_code(text: str) -> Iterator[tuple[int, str]]:
    prose = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    before = ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        number = token.start[0]
        if token.type in prose:
            for offset, line in enumerate(token.string.splitlines()):
                yield from ((number + offset, f'reword "{match[0]}"') for match in WORDS.finditer(line))
        elif token.type == tokenize.NAME:
            if SUPERLATIVE.fullmatch(token.string):
                yield number, f"rename {token.string}: limits are called MAX_ or MIN_"
            if before == "class" and token.string in VAGUE_CLASSES:
                yield number, f"rename class {token.string}"
            before = token.string
