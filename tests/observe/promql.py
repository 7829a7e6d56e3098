"""Metrics and labels of PromQL expressions; a parser that suffices for the expressions in this repository."""

import re
from collections.abc import Iterator

_COMMENT = re.compile(r"#[^\n]*")
_TEXT = re.compile(r'"[^"]*"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_TIMES = re.compile(r"\[\d\w*\]|\boffset\s+\w+")
_SELECTOR = re.compile(r"(?<![\w:.])([a-zA-Z_:][\w:]*)\s*(\{[^}]*\})?(?!\w|\s*\()")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_WORDS = frozenset({"and", "or", "unless", "by", "without", "on", "ignoring", "bool", "offset"})


def _bare(expression: str) -> str:
    return _TIMES.sub("", _GROUPING.sub("", _COMMENT.sub("", expression)))


def selectors(expression: str) -> Iterator[tuple[str, str]]:
    """Yield each metric with its matchers, `("up", '{job="auth"}')`, without ranges and offsets."""
    for found in _SELECTOR.finditer(_bare(expression)):
        name, matchers = found[1], found[2] or ""
        if name not in _WORDS:
            yield name, matchers


def labels(expression: str) -> set[str]:
    """Return every label in a matcher or grouping."""
    grouped = {label.strip() for group in _GROUPING.findall(_COMMENT.sub("", expression)) for label in group.split(",")}
    matched = {label for _, matchers in selectors(expression) for label in _MATCHER.findall(_TEXT.sub("", matchers))}
    return (grouped | matched) - {""}
