"""What the client library says to people at a command line, as it is said on a page."""

import re
from collections.abc import Sequence

_HINTS: Sequence[tuple[re.Pattern[str], str]] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"; say which one is the decimal sign: --decimal , or \.", "; choose the decimal sign below"),
        (r"; choose one with --map \S+=COLUMN", "; choose one of them below"),
        (r"; name it with --map \S+=COLUMN \([^)]*\)", "; choose its column below"),
        (r" \(`tillstream template \w+` writes an example\), or name them with --map", "; the template has them"),
        (r"; one record a line is NDJSON: --format ndjson", "; if each line is one record, choose NDJSON as format"),
        (
            r"; an array of records is JSON: --format json",
            "; if the file is one list of records, choose JSON as format",
        ),
        (r"; unpack it first, or pipe it: \S+ FILE \| tillstream import -", "; unpack it first"),
        (r"\s*\(--\w+[^)]*\)", ""),
    )
)


def rephrase(message: str) -> str:
    """Return a message about a file in the words of a page."""
    for pattern, replacement in _HINTS:
        message = pattern.sub(replacement, message)
    return message
