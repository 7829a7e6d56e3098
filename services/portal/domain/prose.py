"""The little Markdown of the documents' descriptions: paragraphs, lists, code, strong text."""

import re
from collections.abc import Sequence

from msgspec import Struct

_SPAN = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*")


class Span(Struct, frozen=True):
    """A piece of text; `kind` is empty, `code` or `strong`."""

    text: str
    kind: str = ""


class Block(Struct, frozen=True):
    """A paragraph, or the items of a list: each of them a sequence of spans."""

    items: Sequence[Sequence[Span]]
    is_list: bool = False


def parse_prose(text: str) -> list[Block]:
    """Return the blocks of a description."""
    blocks = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        head, *rest = re.split(r"(?:^|\n)\s*[-*] +", paragraph)
        if head.strip():
            blocks.append(Block([parse_spans(head)]))
        if rest:
            blocks.append(Block([parse_spans(item) for item in rest], is_list=True))
    return blocks


def parse_spans(text: str) -> list[Span]:
    """Return the spans of one paragraph."""
    flat, spans, end = " ".join(text.split()), [], 0
    for found in _SPAN.finditer(flat):
        if found.start() > end:
            spans.append(Span(flat[end : found.start()]))
        spans.append(Span(found[1], "code") if found[1] is not None else Span(found[2], "strong"))
        end = found.end()
    return [*spans, Span(flat[end:])] if end < len(flat) else spans
