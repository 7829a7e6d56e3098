"""Durations as the documents print them."""

from functools import lru_cache


def format_duration(span_us: int) -> str:
    """Hours, minutes and seconds; nothing is shorter than nothing."""
    return _format_seconds(max(span_us, 0) // 1_000_000)


@lru_cache(maxsize=1024)
def _format_seconds(seconds: int) -> str:
    """Most jobs take a few seconds."""
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
