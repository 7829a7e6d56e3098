"""Generates the synchronous client from the asynchronous one: `python generate_sync.py`; `--check` only compares.

Both are one implementation: only keywords and a few names differ.
"""

import re
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent / "tillstream"
BY_HAND = {"runtime.py"}
# In this order; whole words.
REPLACEMENTS = (
    (r"async def", "def"),
    (r"async for", "for"),
    (r"async with", "with"),
    (r"await ", ""),
    (r"__aenter__", "__enter__"),
    (r"__aexit__", "__exit__"),
    (r"aclose", "close"),
    (r"aclosing", "closing"),
    (r"aiter_bytes", "iter_bytes"),
    (r"aread", "read"),
    (r"AsyncIterator", "Iterator"),
    (r"async_sleep", "sleep"),
    (r"async_steps", "steps"),
    (r"_async", "_sync"),
    (r"Async(?=[A-Z])", ""),
    (
        r"The asynchronous client\. The synchronous one, `_sync`, is generated from it by",
        "The synchronous client, generated from `_async` by",
    ),
)


def to_sync(source: str) -> str:
    """Return the synchronous form of a module."""
    for pattern, replacement in REPLACEMENTS:
        source = re.sub(rf"(?<![A-Za-z]){pattern}", replacement, source)
    for arguments in (["check", "--quiet", "--fix", "--select", "I,F401"], ["format", "--quiet"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--stdin-filename", str(PACKAGE / "_sync" / "x.py"), "-"]
        source = subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout
    return source


def main() -> int:
    """Write what differs; with `--check` only report it."""
    is_check = "--check" in sys.argv[1:]
    differing = []
    for path in sorted((PACKAGE / "_async").glob("*.py")):
        target = PACKAGE / "_sync" / path.name
        text = to_sync(path.read_text(encoding="utf-8"))
        if path.name in BY_HAND or (target.exists() and target.read_text(encoding="utf-8") == text):
            continue
        differing.append(path.name)
        if not is_check:
            target.write_text(text, encoding="utf-8")
    for name in differing:
        print(f"{'differs' if is_check else 'written'}: tillstream/_sync/{name}")
    return 1 if is_check and differing else 0


if __name__ == "__main__":
    sys.exit(main())
